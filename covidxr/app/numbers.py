"""Figures of stored models for the pages: each is worked out once and kept. No network is loaded here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import streamlit as st

from covidxr.cards import ModelCard, ThresholdFigures
from covidxr.evaluation.results import ModelEvaluation, evaluate_stored, evaluation_json
from covidxr.evaluation.stored import compare_stored, stored_predictions
from covidxr.metrics.calibration import (
    ReliabilityCurve,
    apply_temperature,
    figures_at_threshold,
    predictive_intervals,
    reliability_curve,
)
from covidxr.metrics.comparison import Comparison
from covidxr.metrics.curves import Points, precision_recall_points, roc_points
from covidxr.records import Interval, Predictions
from covidxr.storage import defused

F = TypeVar("F", bound=Callable[..., object])


def _kept(entries: int, spinner: str | bool = False) -> Callable[[F], F]:
    """Keep a function's results; a card stands for the weights and predictions that it was stored with."""
    identity: dict[str | type, Callable[[Any], Any]] = {
        ModelCard: lambda card: (
            card.model_id,
            card.weights_sha256,
            card.created,
            card.external,
            card.dataset_fingerprint,
        )
    }
    return st.cache_resource(max_entries=entries, show_spinner=spinner, hash_funcs=identity)  # type: ignore[return-value]


@_kept(8)
def _test_samples(card: ModelCard) -> tuple[Predictions, Predictions]:
    """What a model said of its test samples, before and after temperature scaling."""
    raw = stored_predictions(card.model_id, card.external)[1].take("test")
    return raw, replace(raw, y_score=apply_temperature(raw.y_score, card.temperature))


def test_predictions(card: ModelCard) -> Predictions:
    """Return what a model said of its test samples, calibrated."""
    return _test_samples(card)[1]


@_kept(8)
def rows(card: ModelCard) -> dict[str, int]:
    """Return the row of each test sample."""
    return {sample: row for row, sample in enumerate(test_predictions(card).samples)}


def rows_of_cell(card: ModelCard, cell: tuple[int, int] | None) -> list[int]:
    """Return the test samples of a (true, called) cell, or all errors, the least probable truth first."""
    part = test_predictions(card)
    truth, called = part.y_true, part.y_pred
    mask = truth != called if cell is None else (truth == cell[0]) & (called == cell[1])
    chosen = np.flatnonzero(mask)
    worst_first: list[int] = chosen[
        np.argsort(part.y_score[chosen, truth[chosen]], kind="stable")
    ].tolist()
    return worst_first


def scores_of(card: ModelCard, sample: str) -> npt.NDArray[np.float64]:
    """Return a test sample's calibrated probabilities, (C,)."""
    scores: npt.NDArray[np.float64] = test_predictions(card).y_score[rows(card)[sample]]
    return scores


@_kept(8, "Working out the figures and their intervals: a second or two, once…")
def evaluation(card: ModelCard) -> ModelEvaluation:
    """Return all figures of a model on its test split."""
    return evaluate_stored(*stored_predictions(card.model_id, card.external))


@_kept(8, "Testing every pair of models: a few seconds, once…")
def comparison(cards: Sequence[ModelCard], intersect: bool) -> Comparison:
    """Return the paired tests between models. Raises ConfigError when their test samples differ and `intersect` is false."""
    return compare_stored(
        [card.model_id for card in cards], intersect=intersect, external=cards[0].external
    )


@_kept(32)
def reliability(card: ModelCard, class_index: int) -> tuple[ReliabilityCurve, ReliabilityCurve]:
    """Return one class's reliability on test before and after temperature scaling."""
    before, after = (
        reliability_curve(part.y_true, part.y_score, class_index, groups=part.groups)
        for part in _test_samples(card)
    )
    return before, after


@_kept(32)
def roc(card: ModelCard, class_index: int) -> Points:
    """Return one class's ROC curve on test."""
    part = test_predictions(card)
    return roc_points(part.y_true, part.y_score, class_index)


@_kept(32)
def precision_recall(card: ModelCard, class_index: int) -> Points:
    """Return one class's precision-recall curve on test."""
    part = test_predictions(card)
    return precision_recall_points(part.y_true, part.y_score, class_index)


def at_threshold(card: ModelCard, class_index: int, threshold: float) -> ThresholdFigures:
    """Return what a threshold on one class's calibrated probability does on test."""
    part = test_predictions(card)
    return figures_at_threshold(part.y_true, part.y_score, class_index, threshold, part.groups)


def at_prevalence(
    figures: ThresholdFigures, prevalence: float
) -> tuple[Interval | None, Interval | None]:
    """Return PPV and NPV where `prevalence` of the patients have the class."""
    if figures.sensitivity is None or figures.specificity is None:
        return None, None
    return predictive_intervals(figures.sensitivity, figures.specificity, prevalence)


def figures_json(card: ModelCard) -> str:
    """Return what `covidxr evaluate --json` prints."""
    figures = evaluation_json(*stored_predictions(card.model_id, card.external))
    return json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False)


def predictions_csv(card: ModelCard, rows: Iterable[int]) -> str:
    """Return some test samples with their true and called class and calibrated probabilities; texts are `defused`."""
    part = test_predictions(card)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", "y_true", "y_pred", *part.class_names])
    called = part.y_pred
    for i in rows:
        names = (part.class_names[part.y_true[i]], part.class_names[called[i]])
        writer.writerow(
            [*map(defused, (part.samples[i], *names)), *(f"{p:.6f}" for p in part.y_score[i])]
        )
    return text.getvalue()
