"""Steps that tests of several packages take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from covidxr.cards import ModelCard
from covidxr.cli import app
from covidxr.config import weights_folder
from covidxr.datasets.opening import open_dataset
from covidxr.evaluation import external, stored
from covidxr.evaluation.results import evaluation_json
from covidxr.models import store
from covidxr.prediction.loading import load_classifier


def audit(model_id: str, data: Path) -> ModelCard:
    """Run `covidxr audit` and return the card that it wrote."""
    CliRunner().invoke(app, ["audit", model_id, "--data", str(data)], catch_exceptions=False)
    return store.read_card(weights_folder() / model_id)


def evaluate(model_id: str, data: Path | None = None, **more: Any) -> dict[str, Any]:
    """Return a model's metrics, from its stored predictions or on its dataset again."""
    if data is None:
        return evaluation_json(*stored.stored_predictions(model_id), **more)
    return stored.evaluate(load_classifier(model_id), open_dataset(data), **more)


def evaluate_external(model_id: str, data: Path | str, name: str | None = None) -> dict[str, Any]:
    """Evaluate a model on another dataset and store the result with the model."""
    folder = store.model_folder(weights_folder(), model_id)
    return external.evaluate_external(load_classifier(model_id), open_dataset(data), folder, name)
