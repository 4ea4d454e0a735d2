"""Stored models: their list, and classifiers assembled from their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from covidxr.config import weights_folder
from covidxr.errors import ModelError
from covidxr.models import store
from covidxr.models.classifier import Classifier
from covidxr.models.store import ModelEntry
from covidxr.ood.detector import load_detector
from covidxr.records import Recipe

if TYPE_CHECKING:
    from covidxr.lungs.segmenter import LungSegmenter


def list_models() -> tuple[ModelEntry, ...]:
    """List the stored models, the highest test accuracy first."""
    return store.list_models(weights_folder())


def load_classifier(
    model_id: str, root: Path | None = None, with_detector: bool = True
) -> Classifier:
    """Load a stored model. Its card, hash, network and tensors are checked.

    Args:
        model_id: Name of its folder.
        root: Folder of the models; None for the configured one.
        with_detector: False skips the OOD detector, which may then be missing or damaged.

    Returns:
        The classifier, ready for use.

    Raises:
        ModelError: For a model that is missing or damaged.
    """
    root = root or weights_folder()
    folder = store.model_folder(root, model_id)
    card = store.read_card(folder)
    network = store.restore_network(card, store.read_weights(folder, card.weights_sha256))
    detector = load_detector(folder, card.gate) if card.gate and with_detector else None
    sha256 = card.preprocessing.segmenter_sha256
    return Classifier(card, network, load_segmenter(root, sha256) if sha256 else None, detector)


def load_segmenter(root: Path | None = None, sha256: str = "") -> LungSegmenter:
    """Load the lung segmenter.

    Args:
        root: Folder of the models; None for the configured one.
        sha256: Hash that its weights must have; empty for any.

    Raises:
        ModelError: For a segmenter that is missing, damaged or another one.
    """
    from covidxr.lungs.segmenter import LungSegmenter, build_segmenter

    root = root or weights_folder()
    card = store.read_segmenter_card(root)
    weights = store.read_weights(root / store.LUNGS, card.weights_sha256)
    if sha256 and card.weights_sha256 != sha256:
        raise ModelError(
            f"the model was trained with another {store.LUNGS} (sha256 {sha256[:16]}, stored: "
            f"{card.weights_sha256[:16]}); restore that one, or train the model again"
        )
    return LungSegmenter(card, store.fill_network(build_segmenter(), weights, card))


def find_segmenter() -> LungSegmenter | None:
    """Load the lung segmenter; None if none is stored.

    Raises:
        ModelError: For a damaged segmenter.
    """
    return load_segmenter() if (weights_folder() / store.LUNGS).is_dir() else None


def segmenter_for(recipe: Recipe) -> LungSegmenter | None:
    """Load the segmenter that a recipe needs; None if its input is the full image."""
    return load_segmenter() if recipe.region == "lungs" else None


def verify_models() -> dict[str, str | None]:
    """Load every model with its predictions, and the lung segmenter if one is stored.

    Returns:
        By model ID, the error, or None.
    """
    found = {entry.model_id: _error_of(entry.model_id) for entry in list_models()}
    if (weights_folder() / store.LUNGS).is_dir():
        found[store.LUNGS] = _error_of(store.LUNGS)
    return found


def _error_of(model_id: str) -> str | None:
    try:
        if model_id == store.LUNGS:
            load_segmenter()
        else:
            load_classifier(model_id)
            store.read_predictions(weights_folder() / model_id)
    except ModelError as error:
        return str(error)
    return None
