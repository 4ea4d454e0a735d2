"""All metrics of a model on one split of its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from covidxr.cards import ModelCard, ThresholdMetrics
from covidxr.metrics.calibration import apply_temperature, metrics_at_threshold
from covidxr.metrics.classification import Evaluation, evaluate
from covidxr.metrics.sources import SourceMetrics, metrics_by_source
from covidxr.records import Interval, Predictions


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """All metrics of a model on one split."""

    figures: Evaluation
    """After temperature scaling."""
    uncalibrated: dict[str, Interval]
    """NLL, Brier score and ECE before temperature scaling."""
    operating_points: dict[str, dict[str, ThresholdMetrics | None]]
    """Metrics at the thresholds selected on val, by class and rule; None without a threshold."""
    sources: dict[str, SourceMetrics]
    """Metrics by source; empty if no source is known."""


def evaluate_stored(
    card: ModelCard,
    predictions: Predictions,
    split: str = "test",
    prevalence: Mapping[str, float] | None = None,
) -> ModelEvaluation:
    """Compute all metrics of a model on a split of its predictions.

    Args:
        card: Of the model.
        predictions: Of the model, without temperature scaling.
        split: Name of the split.
        prevalence: By class, in (0, 1), for PPV and NPV at that prevalence.

    Raises:
        ConfigError: For a split without predictions, or an unknown class.
    """
    calibrated = _evaluate_calibrated(card, predictions, split, prevalence)
    raw = evaluate(predictions, split, groups=predictions.groups)
    part = predictions.take(split)
    score = apply_temperature(part.y_score, card.temperature)
    points = {
        name: {
            rule: metrics_at_threshold(
                part.y_true, score, card.class_names.index(name), point.threshold, part.groups
            )
            if point.threshold is not None
            else None
            for rule, point in rules.items()
        }
        for name, rules in card.operating_points.items()
    }
    uncalibrated = {"nll": raw.nll, "brier": raw.brier, "ece": raw.ece}
    return ModelEvaluation(calibrated, uncalibrated, points, metrics_by_source(part, part.groups))


def _evaluate_calibrated(
    card: ModelCard,
    predictions: Predictions,
    split: str,
    prevalence: Mapping[str, float] | None = None,
) -> Evaluation:
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
    """Return the metrics over all classes for a card: accuracy, macro_f1, ece and others."""
    found = asdict(_evaluate_calibrated(card, predictions, split))
    return {
        name: Interval(**value)
        for name, value in found.items()
        if isinstance(value, dict) and set(value) == {"estimate", "low", "high"}
    }


def evaluation_json(
    card: ModelCard,
    predictions: Predictions,
    split: str = "test",
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return all metrics of a model as one JSON object; arguments as in `evaluate_stored`."""
    result = asdict(evaluate_stored(card, predictions, split, prevalence))
    audit = {"shortcuts": [asdict(check) for check in card.shortcuts]} if split == "test" else {}
    return {"model_id": card.model_id, **result.pop("figures"), **result, **audit}
