"""Stored models: where they lie, their list, loading and verifying them."""

from __future__ import annotations

from covidxr.config import weights_folder
from covidxr.models import store
from covidxr.models.store import LoadedModel, ModelEntry


def list_models() -> tuple[ModelEntry, ...]:
    """List the stored models, the best accuracy on test first."""
    return store.list_models(weights_folder())


def load_model(model_id: str, gated: bool = True) -> LoadedModel:
    """Load a stored model, with its gate or without. Raises ModelError saying why it cannot be used."""
    return store.load_model(store.model_folder(weights_folder(), model_id), gated)


def verify_models() -> dict[str, str | None]:
    """Load every model and its predictions, and the lung segmenter where there is one; say what is wrong with each, or None."""
    found = {
        entry.model_id: store.verify_model(weights_folder() / entry.model_id)
        for entry in list_models()
    }
    return found | (
        {store.LUNGS: store.verify_segmenter(weights_folder())}
        if (weights_folder() / store.LUNGS).is_dir()
        else {}
    )
