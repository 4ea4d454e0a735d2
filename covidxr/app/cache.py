"""What outlives a rerun: models, judged pictures, heat maps. Each cache is bounded and keyed by hashes of what it depends on."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st
from PIL import Image

from covidxr.cards import METHOD_TITLES, MapSettings, ModelCard
from covidxr.config import weights_folder
from covidxr.errors import ImageError
from covidxr.explanation.settings import map_settings
from covidxr.figures import MODEL_COLOURS, fit_screen
from covidxr.images.metadata import LeftOut
from covidxr.images.reading import read_image, read_radiograph
from covidxr.lungs.masks import LungMask
from covidxr.models.classifier import Classifier
from covidxr.models.store import read_segmenter_card
from covidxr.prediction import cases
from covidxr.prediction.cases import padding_sentence, reading_warnings, sample_phantom
from covidxr.prediction.loading import load_classifier, load_segmenter
from covidxr.prediction.log import log_use
from covidxr.records import Attribution, CasePrediction, GreyImage, Stability, display_name

if TYPE_CHECKING:
    from covidxr.lungs.segmenter import LungSegmenter

QUICK_METHODS = ("gradcam", "hirescam")
"""Those that pass the network once; the others do so dozens of times."""
_SLOW_MAPS = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file as it came in, and the hash of its content."""

    name: str
    content: bytes
    sha256: str
    synthetic: bool = False

    @classmethod
    def of(cls, name: str, content: bytes, synthetic: bool = False) -> Picture:
        """Hash a file's content."""
        return cls(name, content, hashlib.sha256(content).hexdigest(), synthetic)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A picture that a model has judged; `image` (H, W) uint8 is reduced to what a screen can show."""

    image: GreyImage
    prediction: CasePrediction
    padding: str | None
    warnings: tuple[str, ...]
    """What the reader of the answer must know of the file."""
    stability: Stability
    dropped: tuple[LeftOut, ...] = ()


def judge(card: ModelCard, picture: Picture) -> Case | ImageError:
    """Return what a model says of a picture, or why the picture cannot be read. Raises ModelError for a model that is broken."""
    try:
        case = _judge(
            card.model_id,
            card.weights_sha256,
            card.gate.sha256 if card.gate else "",
            picture.sha256,
            picture,
            card,
        )
    except ImageError as error:
        log_once(card, picture.sha256, "unreadable")
        return error
    if not picture.synthetic:
        refused = bool(case.prediction.refusals)
        log_once(
            card,
            picture.sha256,
            "refused" if refused else "answered",
            None if refused else case.prediction.predicted,
        )
    return case


def log_once(
    card: ModelCard,
    input_sha256: str,
    verdict: Literal["answered", "refused", "unreadable"],
    predicted: str | None = None,
) -> None:
    """Log the use of a model on a file, see `log_use`; a file that a session asks for anew is not logged again."""
    seen: set[tuple[str, str]] = st.session_state.setdefault("logged", set())
    if not input_sha256 or (card.weights_sha256, input_sha256) not in seen:
        seen.add((card.weights_sha256, input_sha256))
        log_use(card, input_sha256, verdict, predicted)


def explain(card: ModelCard, picture: Picture, target: str, method: str = "") -> Attribution:
    """Return where a model found its reasons for a class; without a method, by the one that points best.

    A slow one shows its progress. Raises ImageError, ModelError.
    """
    settings = map_settings(card, method)
    if settings.method in QUICK_METHODS:
        return _explain(
            card.model_id, card.weights_sha256, picture.sha256, target, settings, picture
        )
    # Streamlit would draw the progress anew with each hit of a cache of its own, so slow maps are kept with the session.
    kept: dict[Any, Attribution] = st.session_state.setdefault("slow maps", {})
    key = (card.model_id, card.weights_sha256, picture.sha256, target, settings)
    if key not in kept:
        bar, title = st.empty(), METHOD_TITLES[settings.method]

        def watch(done: int, total: int) -> None:
            bar.progress(done / total, f"{title}: {done:,} of {total:,} passes through the network")

        image = read_image(picture.content, picture.name)
        model = load(card.model_id, card.weights_sha256)
        kept[key] = cases.explain(model, image, target, settings.method, watch)
        bar.empty()
        if len(kept) > _SLOW_MAPS:
            kept.pop(next(iter(kept)), None)
    return kept[key]


def lungs(picture: Picture) -> LungMask:
    """Return the lungs of a picture, (256, 256) bool on its square, all false when none are found.

    Raises ImageError, and ModelError when no segmenter is stored.
    """
    return _lungs(read_segmenter_card(weights_folder()).weights_sha256, picture.sha256, picture)


@st.cache_resource(max_entries=32, show_spinner=False)
def phantom(class_name: str, seed: int) -> Picture:
    """Return a synthetic phantom as if it had been uploaded."""
    content = io.BytesIO()
    Image.fromarray(sample_phantom(class_name, seed)).save(content, "PNG")
    return Picture.of(f"{display_name(class_name)} phantom", content.getvalue(), synthetic=True)


# A parameter whose name begins with an underscore is no part of the key: the hashes stand for what it holds.


@st.cache_resource(
    max_entries=len(MODEL_COLOURS), show_spinner="Loading the model: a few seconds, once…"
)
def load(model_id: str, weights_sha256: str) -> Classifier:
    """Return a stored model, loaded once for all sessions. Raises ModelError."""
    return load_classifier(model_id)


def gated(card: ModelCard) -> Classifier:
    """Return a model as `load` does, with the gate of its card: the audit may have fitted another since. Raises ModelError."""
    model = load(card.model_id, card.weights_sha256)
    if model.card.gate != card.gate and not card.external:
        load.clear(card.model_id, card.weights_sha256)
        model = load(card.model_id, card.weights_sha256)
    return model


@st.cache_resource(max_entries=128, show_spinner=False)
def _judge(
    model_id: str,
    weights_sha256: str,
    gate_sha256: str,
    picture_sha256: str,
    _picture: Picture,
    _card: ModelCard,
) -> Case:
    radiograph = read_radiograph(_picture.content, _picture.name)
    model, image = gated(_card), radiograph.image
    prediction = model.predict(radiograph)
    return Case(
        fit_screen(image),
        prediction,
        padding_sentence(image),
        reading_warnings(radiograph),
        cases.stability(model, image),
        radiograph.dropped,
    )


@st.cache_resource(max_entries=128, show_spinner=False)
def _explain(
    model_id: str,
    weights_sha256: str,
    picture_sha256: str,
    target: str,
    settings: MapSettings,
    _picture: Picture,
) -> Attribution:
    image = read_image(_picture.content, _picture.name)
    return cases.explain(load(model_id, weights_sha256), image, target, settings.method)


@st.cache_resource(max_entries=1, show_spinner="Loading the lung segmenter: a few seconds, once…")
def _segmenter(weights_sha256: str) -> LungSegmenter:
    return load_segmenter(sha256=weights_sha256)


@st.cache_resource(max_entries=128, show_spinner=False)
def _lungs(weights_sha256: str, picture_sha256: str, _picture: Picture) -> LungMask:
    return _segmenter(weights_sha256).mask(read_image(_picture.content, _picture.name))
