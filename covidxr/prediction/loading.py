"""Stored models: where they lie, their list, loading and verifying them."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

import covidxr
from covidxr.models import store
from covidxr.models.fetch import unpack_bundled
from covidxr.models.store import LoadedModel, ModelEntry


def weights_folder() -> Path:
    """Return the folder of the stored models: COVIDXR_WEIGHTS, else the checkout's `weights/`, else the user's data folder.

    An installed wheel has no checkout. Its models are copied to the user's data folder once, where those that are fetched or
    published later are stored as well: the folder of the package itself may be read-only, and is replaced by an upgrade.
    """
    if named := os.environ.get("COVIDXR_WEIGHTS"):
        return Path(named)
    package = Path(covidxr.__file__).resolve().parent
    bundle = package / "weights"
    if not bundle.is_dir():
        return package.parent / "weights"
    folder = Path(platformdirs.user_data_dir("covidxr")) / "weights"
    unpack_bundled(bundle, folder, covidxr.__version__)
    return folder


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
