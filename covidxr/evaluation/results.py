"""All metrics of a model on one split of its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from covidxr.cards import ModelCard, ThresholdFigures
from covidxr.metrics.calibration import apply_temperature, figures_at_threshold
from covidxr.metrics.classification import Evaluation, evaluate
from covidxr.metrics.sources import SourceFigures, figures_by_source
from covidxr.records import Interval, Predictions


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
