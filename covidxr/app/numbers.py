"""Cached metrics of stored models; no network is loaded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import streamlit as st

from covidxr.app.cache import HASH_FUNCS
from covidxr.cards import ModelCard, ThresholdMetrics
from covidxr.evaluation.results import ModelEvaluation, evaluate_stored, evaluation_json
from covidxr.evaluation.stored import compare_stored, stored_predictions
from covidxr.metrics.calibration import (
    ReliabilityCurve,
    apply_temperature,
    metrics_at_threshold,
    predictive_intervals,
    reliability_curve,
)
from covidxr.metrics.comparison import Comparison
from covidxr.metrics.curves import Points, precision_recall_points, roc_points
from covidxr.records import Interval, Predictions
from covidxr.storage import csv_safe


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=HASH_FUNCS)
def _test_samples(card: ModelCard) -> tuple[Predictions, Predictions]:
    """A model's test predictions before and after temperature scaling."""
    raw = stored_predictions(card.model_id, card.external)[1].take("test")
    return raw, replace(raw, y_score=apply_temperature(raw.y_score, card.temperature))


def test_predictions(card: ModelCard) -> Predictions:
    """Return a model's calibrated predictions on its test set."""
    return _test_samples(card)[1]


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=HASH_FUNCS)
def rows(card: ModelCard) -> dict[str, int]:
    """Return the row of each test sample in the test predictions."""
    return {sample: row for row, sample in enumerate(test_predictions(card).samples)}


def rows_of_cell(card: ModelCard, cell: tuple[int, int] | None) -> list[int]:
    """Return the test samples of a cell of the confusion matrix, or all errors.

    Args:
        card: Of the model.
        cell: (true, predicted) class indices; None for all errors.

    Returns:
        Rows of the test predictions, the lowest probability of the true class first.
    """
    part = test_predictions(card)
    mask = part.y_true != part.y_pred
    if cell is not None:
        mask = (part.y_true == cell[0]) & (part.y_pred == cell[1])
    chosen = np.flatnonzero(mask)
    scores = part.y_score[chosen, part.y_true[chosen]]
    worst_first: list[int] = chosen[np.argsort(scores, kind="stable")].tolist()
    return worst_first


def scores_of(card: ModelCard, sample: str) -> npt.NDArray[np.float64]:
    """Return a test sample's calibrated probabilities, (C,)."""
    scores: npt.NDArray[np.float64] = test_predictions(card).y_score[rows(card)[sample]]
    return scores


@st.cache_resource(
    max_entries=8,
    show_spinner="Computing metrics…",
    hash_funcs=HASH_FUNCS,
)
def evaluation(card: ModelCard) -> ModelEvaluation:
    """Return all metrics of a model on its test set."""
    return evaluate_stored(*stored_predictions(card.model_id, card.external))


@st.cache_resource(
    max_entries=8,
    show_spinner="Testing all pairs of models…",
    hash_funcs=HASH_FUNCS,
)
def comparison(cards: Sequence[ModelCard], intersect: bool) -> Comparison:
    """Return the paired tests between models.

    Args:
        cards: Of the models.
        intersect: Whether to compare on the test samples that all models share.

    Raises:
        ConfigError: When the test samples differ and `intersect` is false.
    """
    return compare_stored(
        [card.model_id for card in cards], intersect=intersect, external=cards[0].external
    )


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs=HASH_FUNCS)
def reliability(card: ModelCard, class_index: int) -> tuple[ReliabilityCurve, ReliabilityCurve]:
    """Return the test reliability curve of a class before and after temperature scaling."""
    before, after = (
        reliability_curve(part.y_true, part.y_score, class_index, groups=part.groups)
        for part in _test_samples(card)
    )
    return before, after


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs=HASH_FUNCS)
def roc(card: ModelCard, class_index: int) -> Points:
    """Return the test ROC curve of a class."""
    part = test_predictions(card)
    return roc_points(part.y_true, part.y_score, class_index)


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs=HASH_FUNCS)
def precision_recall(card: ModelCard, class_index: int) -> Points:
    """Return the test precision-recall curve of a class."""
    part = test_predictions(card)
    return precision_recall_points(part.y_true, part.y_score, class_index)


def at_threshold(card: ModelCard, class_index: int, threshold: float) -> ThresholdMetrics:
    """Return the test performance of a threshold on the calibrated probability of a class."""
    part = test_predictions(card)
    return metrics_at_threshold(part.y_true, part.y_score, class_index, threshold, part.groups)


def at_prevalence(
    figures: ThresholdMetrics, prevalence: float
) -> tuple[Interval | None, Interval | None]:
    """Return PPV and NPV at a prevalence in [0, 1]; None where they are undefined."""
    if figures.sensitivity is None or figures.specificity is None:
        return None, None
    return predictive_intervals(figures.sensitivity, figures.specificity, prevalence)


def figures_json(card: ModelCard) -> str:
    """Return what `covidxr evaluate --json` prints."""
    figures = evaluation_json(*stored_predictions(card.model_id, card.external))
    return json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False)


def predictions_csv(card: ModelCard, rows: Iterable[int]) -> str:
    """Return test samples as CSV: true and predicted class, calibrated probabilities.

    Args:
        card: Of the model.
        rows: Of the test predictions.

    Texts are `csv_safe`.
    """
    part = test_predictions(card)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", "y_true", "y_pred", *part.class_names])
    predicted = part.y_pred
    for i in rows:
        names = (part.class_names[part.y_true[i]], part.class_names[predicted[i]])
        texts = map(csv_safe, (part.samples[i], *names))
        writer.writerow([*texts, *(f"{p:.6f}" for p in part.y_score[i])])
    return text.getvalue()
