"""Stored predictions of models: on their own test split, or on an external dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from covidxr.cards import ModelCard
from covidxr.config import weights_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import split_as_trained
from covidxr.evaluation.external import list_external, stored_external
from covidxr.evaluation.predictions import predict_splits
from covidxr.evaluation.results import evaluation_json
from covidxr.metrics.calibration import apply_temperature
from covidxr.metrics.comparison import Comparison, compare
from covidxr.models import store
from covidxr.models.classifier import Classifier
from covidxr.records import Predictions


def stored_predictions(model_id: str, external: str = "") -> tuple[ModelCard, Predictions]:
    """Read a model's card and predictions.

    Groups are present only where the split kept them together.

    Args:
        model_id: Name of its folder.
        external: Name of an external evaluation whose predictions and card to read instead
            (`stored_external`).

    Raises:
        ModelError: When they are missing or damaged.
    """
    folder = store.model_folder(weights_folder(), model_id)
    if external:
        return stored_external(folder, external)
    return store.read_card(folder), store.read_predictions(folder)


def external_tests(model_id: str) -> tuple[str, ...]:
    """Return the names of a model's external evaluations, sorted."""
    return list_external(store.model_folder(weights_folder(), model_id))


def evaluate(
    model: Classifier,
    dataset: Dataset,
    split: str = "test",
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Predict a split of the model's own dataset again; return its metrics as one JSON object.

    Raises:
        DatasetError: When the dataset is not the one that the model was trained on.
    """
    data = split_as_trained(dataset, model.card)
    predictions = predict_splits(model, data, (split,))
    return evaluation_json(model.card, predictions, split, prevalence)


def compare_stored(
    model_ids: Sequence[str], split: str = "test", intersect: bool = False, external: str = ""
) -> Comparison:
    """Compare models pair by pair on the same samples, from their stored predictions after temperature scaling.

    external: name of an external test that all of them have, to compare on; its split is test.
    Raises ConfigError when fewer than two are named, or when their samples differ and `intersect` does not allow for it, and
    ModelError when one has no external test of that name.
    """
    stored = [stored_predictions(model_id, external) for model_id in model_ids]
    groups = stored[0][1].groups if stored else None
    # A temperature changes how the samples of one class rank: tempered, the AUROCs here are those of `evaluate_stored`.
    tempered = [
        replace(p, y_score=apply_temperature(p.y_score, card.temperature)) for card, p in stored
    ]
    entries = list(zip(model_ids, tempered, strict=True))
    return compare(entries, intersect, split=split, groups=groups)
