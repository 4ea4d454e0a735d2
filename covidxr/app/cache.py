"""Models, decoded images and results that outlive a rerun.

Every cache is bounded and keyed by hashes of what its entries depend on.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st
from PIL import Image

from covidxr.app.widgets import progress
from covidxr.cards import METHOD_TITLES, MapSettings, ModelCard
from covidxr.config import weights_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import SplitData
from covidxr.errors import ImageError, ModelError
from covidxr.explanation.settings import LAYER_METHODS, map_settings
from covidxr.figures import MODEL_COLORS
from covidxr.images.radiograph import Radiograph
from covidxr.images.reading import read_radiograph
from covidxr.lungs.masks import LungMask
from covidxr.models.classifier import Classifier
from covidxr.models.store import read_segmenter_card
from covidxr.prediction import cases
from covidxr.prediction.cases import padding_sentence, reading_warnings, sample_phantom
from covidxr.prediction.loading import load_classifier, load_segmenter
from covidxr.prediction.log import log_use
from covidxr.records import Attribution, CasePrediction, GrayImage, Stability, display_name

if TYPE_CHECKING:
    from covidxr.lungs.segmenter import LungSegmenter

DECODED = 8
"""Decoded images that are kept; one of 12 megapixels and 16 bits takes 36 MB."""
_SLOW_MAPS = 16


def _dataset_identity(dataset: Dataset) -> tuple[str, str, int]:
    return str(dataset.path), dataset.state, len(dataset.samples)


HASH_FUNCS: dict[str | type[Any], Callable[[Any], Any]] = {
    Dataset: _dataset_identity,
    SplitData: lambda data: (_dataset_identity(data.dataset), data.split.plan),
    # By name, since pages without an audit need not import it.
    "covidxr.datasets.audit.dataset_audit.Audit": lambda audit: _dataset_identity(audit.dataset),
    ModelCard: lambda card: (
        card.model_id,
        card.weights_sha256,
        card.created,
        card.external,
        card.dataset_fingerprint,
    ),
}
"""What identifies a parameter of a cached function, for its `hash_funcs`.

A card is identified by the weights and predictions that it was stored with.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An image file that was uploaded or taken from a dataset, decoded."""

    name: str
    sha256: str
    """Of the file's content."""
    decoded: Radiograph | ImageError
    """The image, or why the file cannot be read."""
    synthetic: bool = False

    @property
    def radiograph(self) -> Radiograph:
        """The decoded image. Raises ImageError for a file that cannot be read."""
        if isinstance(self.decoded, ImageError):
            raise self.decoded
        return self.decoded

    @property
    def image(self) -> GrayImage:
        """The gray values, (H, W) uint8. Raises ImageError for a file that cannot be read."""
        return self.radiograph.image


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What a model predicts for a case, and what limits the prediction."""

    prediction: CasePrediction
    stability: Stability
    padding: str | None
    warnings: tuple[str, ...]
    """Sentences about the file, to show with the prediction."""


def read_case(name: str, content: bytes, synthetic: bool = False) -> Case:
    """Decode an image file; one that was decoded lately comes from the cache."""
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        return Case(name, sha256, _decoded(sha256, content, name), synthetic)
    except ImageError as error:
        return Case(name, sha256, error, synthetic)


def analyze(card: ModelCard, case: Case) -> Analysis | ImageError:
    """Return a model's analysis of a case, or why the case cannot be analyzed; log the use.

    Raises:
        ModelError: For a model that cannot be loaded.
    """
    try:
        analysis = _analyze(
            card.model_id,
            card.weights_sha256,
            card.gate.sha256 if card.gate else "",
            case.sha256,
            case,
            card,
        )
    except ImageError as error:
        log_once(card, case.sha256, "unreadable")
        return error
    if not case.synthetic:
        rejected = bool(analysis.prediction.rejections)
        log_once(
            card,
            case.sha256,
            "refused" if rejected else "answered",
            None if rejected else analysis.prediction.predicted,
        )
    return analysis


def log_once(
    card: ModelCard,
    input_sha256: str,
    verdict: Literal["answered", "refused", "unreadable"],
    predicted: str | None = None,
) -> None:
    """Log the use of a model on a file, once per session, see `log_use`."""
    seen: set[tuple[str, str]] = st.session_state.setdefault("logged", set())
    if not input_sha256 or (card.weights_sha256, input_sha256) not in seen:
        seen.add((card.weights_sha256, input_sha256))
        log_use(card, input_sha256, verdict, predicted)


def explain(card: ModelCard, case: Case, target: str, method: str = "") -> Attribution:
    """Return the heat map of a class; a slow method shows its progress.

    Args:
        card: Of the model.
        case: The image.
        target: The class that is explained.
        method: One of METHOD_TITLES; without it, the one with the best localization.

    Raises:
        ImageError: For a file that cannot be read.
        ModelError: For a model that cannot be loaded.
    """
    settings = map_settings(card, method)
    if settings.method in LAYER_METHODS:
        return _explain(card.model_id, card.weights_sha256, case.sha256, target, settings, case)
    # Streamlit would replay the progress bar with each hit of a cache of its own.
    kept: dict[Any, Attribution] = st.session_state.setdefault("slow maps", {})
    key = (card.model_id, card.weights_sha256, case.sha256, target, settings)
    if key not in kept:
        model = load(card.model_id, card.weights_sha256)
        with progress(f"{METHOD_TITLES[settings.method]}, forward passes") as watch:
            kept[key] = cases.explain(model, case.image, target, settings.method, watch)
        if len(kept) > _SLOW_MAPS:
            kept.pop(next(iter(kept)), None)
    return kept[key]


def lungs_of(case: Case) -> LungMask | None:
    """Return the lungs of an image, (256, 256) bool on its square; None without a segmenter.

    All false where no lungs are found. Raises ImageError for a file that cannot be read.
    """
    try:
        sha256 = read_segmenter_card(weights_folder()).weights_sha256
        return _lungs(sha256, case.sha256, case)
    except ModelError:
        return None


@st.cache_resource(max_entries=32, show_spinner=False)
def phantom(class_name: str, seed: int) -> Case:
    """Return a synthetic phantom as if it had been uploaded."""
    content = io.BytesIO()
    Image.fromarray(sample_phantom(class_name, seed)).save(content, "PNG")
    radiograph = read_radiograph(content.getvalue())
    return Case(f"{display_name(class_name)} phantom", radiograph.sha256, radiograph, True)


# A parameter whose name begins with an underscore is not part of the key: hashes represent it.


@st.cache_resource(max_entries=len(MODEL_COLORS), show_spinner="Loading model…")
def load(model_id: str, weights_sha256: str) -> Classifier:
    """Return a stored model, loaded once for all sessions. Raises ModelError."""
    return load_classifier(model_id)


def load_current(card: ModelCard) -> Classifier:
    """Return a model as `load` does, with the OOD detector of its card.

    An audit may have fitted another detector since the model was loaded. Raises ModelError.
    """
    model = load(card.model_id, card.weights_sha256)
    if model.card.gate != card.gate and not card.external:
        load.clear(card.model_id, card.weights_sha256)
        model = load(card.model_id, card.weights_sha256)
    return model


@st.cache_resource(max_entries=DECODED, show_spinner=False)
def _decoded(sha256: str, _content: bytes, _name: str) -> Radiograph:
    # An error is not kept, since it names the file.
    return read_radiograph(_content, _name)


@st.cache_resource(max_entries=128, show_spinner=False)
def _analyze(
    model_id: str,
    weights_sha256: str,
    detector_sha256: str,
    case_sha256: str,
    _case: Case,
    _card: ModelCard,
) -> Analysis:
    radiograph, model = _case.radiograph, load_current(_card)
    return Analysis(
        model.predict(radiograph),
        cases.stability(model, radiograph.image),
        padding_sentence(radiograph.image),
        reading_warnings(radiograph),
    )


@st.cache_resource(max_entries=128, show_spinner=False)
def _explain(
    model_id: str,
    weights_sha256: str,
    case_sha256: str,
    target: str,
    settings: MapSettings,
    _case: Case,
) -> Attribution:
    model = load(model_id, weights_sha256)
    return cases.explain(model, _case.image, target, settings.method)


@st.cache_resource(max_entries=1, show_spinner="Loading lung segmenter…")
def _segmenter(weights_sha256: str) -> LungSegmenter:
    return load_segmenter(sha256=weights_sha256)


@st.cache_resource(max_entries=128, show_spinner=False)
def _lungs(weights_sha256: str, case_sha256: str, _case: Case) -> LungMask:
    return _segmenter(weights_sha256).mask(_case.image)
