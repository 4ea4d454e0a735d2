"""Stored predictions of models: on their own dataset, or on an external one."""

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
    """Read the card and predictions of a model.

    Args:
        model_id: Name of its folder.
        external: Name of an external evaluation to read instead (`stored_external`).

    Raises:
        ModelError: For files that are missing or damaged.
    """
    folder = store.model_folder(weights_folder(), model_id)
    if external:
        return stored_external(folder, external)
    return store.read_card(folder), store.read_predictions(folder)


def external_evaluations(model_id: str) -> tuple[str, ...]:
    """Return the names of a model's external evaluations, sorted."""
    return list_external(store.model_folder(weights_folder(), model_id))


def evaluate(
    model: Classifier,
    dataset: Dataset,
    split: str = "test",
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Predict a split of a model's own dataset again.

    Args:
        model: The classifier.
        dataset: Its own dataset.
        split: Name of the split.
        prevalence: By class, in (0, 1), for PPV and NPV at that prevalence.

    Returns:
        All metrics as one JSON object.

    Raises:
        DatasetError: For a dataset that the model was not trained on.
    """
    data = split_as_trained(dataset, model.card)
    predictions = predict_splits(model, data, (split,))
    return evaluation_json(model.card, predictions, split, prevalence)


def compare_stored(
    model_ids: Sequence[str], split: str = "test", intersect: bool = False, external: str = ""
) -> Comparison:
    """Compare models in pairs on the same samples, from their stored predictions.

    Args:
        model_ids: Two or more models.
        split: Name of the split.
        intersect: Compare on the samples that all models share.
        external: Name of an external evaluation of all models, whose split is test.

    Raises:
        ConfigError: For fewer than two models, or for different samples without `intersect`.
        ModelError: For a model without the external evaluation.
    """
    stored = [stored_predictions(model_id, external) for model_id in model_ids]
    groups = stored[0][1].groups if stored else None
    # The temperature changes the order of one class's scores, and so its AUROC.
    calibrated = [
        replace(p, y_score=apply_temperature(p.y_score, card.temperature)) for card, p in stored
    ]
    entries = list(zip(model_ids, calibrated, strict=True))
    return compare(entries, intersect, split=split, groups=groups)
