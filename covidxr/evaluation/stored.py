"""Figures of models on val and test, from stored predictions or anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from covidxr.cards import ModelCard, ThresholdFigures
from covidxr.config import weights_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.split_data import SplitData, split_data
from covidxr.errors import DatasetError
from covidxr.lungs.crops import seen_pixels
from covidxr.metrics.calibration import apply_temperature, figures_at_threshold
from covidxr.metrics.classification import Evaluation, evaluate
from covidxr.metrics.comparison import Comparison, compare
from covidxr.metrics.sources import SourceFigures, figures_by_source
from covidxr.models import store
from covidxr.prediction.loading import load_model
from covidxr.records import Interval, Predictions, Preprocessing

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """All that a split says of a model.

    figures: after temperature scaling.  uncalibrated: nll, brier and ece before it.
    operating_points: what the thresholds that were chosen on val do here, by class, then by rule; None where none could be chosen.
    sources: figures by source; empty where the predictions name none.
    """

    figures: Evaluation
    uncalibrated: dict[str, Interval]
    operating_points: dict[str, dict[str, ThresholdFigures | None]]
    sources: dict[str, SourceFigures]


def stored_predictions(model_id: str, external: str = "") -> tuple[ModelCard, Predictions]:
    """Read a model's card and predictions; groups are there only where the split kept them together. Raises ModelError.

    external: name of an external test of the model, to read those predictions and the card as of them (`stored_external`).
    """
    if external:
        from covidxr.evaluation.external import (
            stored_external,  # here, since that file needs this one
        )

        return stored_external(model_id, external)
    folder = store.model_folder(weights_folder(), model_id)
    return store.read_card(folder), store.read_predictions(folder)


def evaluate_stored(
    card: ModelCard,
    predictions: Predictions,
    split: str = "test",
    prevalence: Mapping[str, float] | None = None,
) -> ModelEvaluation:
    """Work out all figures of a model on a split of its predictions; prevalence as in `evaluate`.

    Raises ConfigError for a split without predictions or a class that is not there.
    """
    figures = evaluate_predictions(card, predictions, split, prevalence)
    raw = evaluate(predictions, split, groups=predictions.groups)
    part = predictions.take(split)
    score = apply_temperature(part.y_score, card.temperature)
    points = {
        name: {
            rule: figures_at_threshold(
                part.y_true, score, card.class_names.index(name), point.threshold, part.groups
            )
            if point.threshold is not None
            else None
            for rule, point in rules.items()
        }
        for name, rules in card.operating_points.items()
    }
    uncalibrated = {"nll": raw.nll, "brier": raw.brier, "ece": raw.ece}
    return ModelEvaluation(figures, uncalibrated, points, figures_by_source(part, part.groups))


def evaluate_predictions(
    card: ModelCard,
    predictions: Predictions,
    split: str,
    prevalence: Mapping[str, float] | None = None,
) -> Evaluation:
    """Return the calibrated figures of a model on a split."""
    return evaluate(
        predictions,
        split,
        temperature=card.temperature,
        groups=predictions.groups,
        prevalence=prevalence,
    )


def split_metrics(
    card: ModelCard, predictions: Predictions, split: str = "test"
) -> dict[str, Interval]:
    """Return the figures over all classes that a card holds, by name: accuracy, macro_f1, ece and so on."""
    figures = asdict(evaluate_predictions(card, predictions, split))
    return {
        k: Interval(**v)
        for k, v in figures.items()
        if isinstance(v, dict) and set(v) == {"estimate", "low", "high"}
    }


def evaluate_model(
    model_id: str,
    data: Path | str | None = None,
    split: str = "test",
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return a model's figures on a split as one JSON object, from its stored predictions, or anew when `data` is given.

    Raises DatasetError when the dataset, divided by the model's plan, is not the one the model was trained on.
    """
    if data is None:
        card, predictions = stored_predictions(model_id)
    else:
        model = load_model(model_id)
        card = model.card
        divided = split_data(data, card.split, excluded=card.excluded)
        if divided.split.fingerprint != card.split_fingerprint:
            raise DatasetError(
                f"{data} is not the dataset that {model_id} was trained on (split {divided.split.fingerprint}, expected "
                f"{card.split_fingerprint}): some of its {split} images may have trained the model"
            )
        predictions = predict_splits(model.network, card.preprocessing, divided, (split,))
    return evaluation_json(card, predictions, split, prevalence)


def evaluation_json(
    card: ModelCard,
    predictions: Predictions,
    split: str = "test",
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return all figures of a model on a split of its predictions as one JSON object."""
    result = asdict(evaluate_stored(card, predictions, split, prevalence))
    audit = {"shortcuts": [asdict(check) for check in card.shortcuts]} if split == "test" else {}
    return {"model_id": card.model_id, **result.pop("figures"), **result, **audit}


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


def predict_splits(
    network: nn.Module, preprocessing: Preprocessing, data: SplitData, splits: Iterable[str]
) -> Predictions:
    """Return a network's probabilities of the named splits' samples; the network must be in eval mode."""
    from covidxr.models.inference import predict_scores

    split = data.split
    positions = np.concatenate([split.rows(name) for name in splits])
    files = [split.files[i] for i in positions]
    pixels = seen_pixels(preprocessing, data.dataset, skip_unreadable=True)
    scores = predict_scores(
        network, pixels.array, pixels.rows(files), preprocessing, progress="predicting"
    )
    names = tuple(str(name) for name in split.names[positions])
    source_of = {sample.file: sample.source for sample in data.dataset.samples}
    sources = (
        tuple(source_of[file] or "unknown" for file in files) if any(source_of.values()) else None
    )
    labels, groups = (
        split.labels[positions],
        None if split.bound_groups is None else split.bound_groups[positions],
    )
    return Predictions(
        data.dataset.class_names, tuple(files), names, labels, scores, groups, sources
    )


def check_dataset(card: ModelCard, dataset: Dataset) -> None:
    """Raise DatasetError unless a dataset is the one that a model was judged on."""
    if dataset.fingerprint != card.dataset_fingerprint:
        raise DatasetError(
            f"{dataset.path} is not the dataset that {card.model_id} was judged on ({card.dataset_name}): its files differ"
        )
