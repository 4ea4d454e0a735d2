"""Sets of classes that hold the true one as often as promised: split conformal prediction."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from covidxr.cards import PredictionSets, SetFigures
from covidxr.errors import ConfigError
from covidxr.metrics.calibration import apply_temperature
from covidxr.metrics.intervals import mean_interval, proportion_interval
from covidxr.records import Labels, Predictions, Scores

COVERAGE = 0.9
"""Share of pictures whose set shall hold their class."""


def set_thresholds(y_true: Labels, y_score: Scores) -> npt.NDArray[np.float64]:
    """(C,) least probability with which a class joins the set, one for each class, from the samples of that class alone.

    Of n samples of a class the threshold is the k-th smallest probability that they give it, k = floor((n + 1)(1 - COVERAGE));
    where k is 0 they are too few, and the class joins every set. A new sample, exchangeable with them, then has its class in the
    set with a probability of COVERAGE or more, whatever the class. y_true: (N,).  y_score: (N, C).
    Raises ConfigError for shapes that do not fit.
    Sadinle, Lei & Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error levels", JASA 114:223, section 4
    (class-specific coverage); the (n + 1): Vovk 2012, "Conditional validity of inductive conformal predictors", ACML.
    """
    if y_score.ndim != 2 or y_true.shape != y_score.shape[:1]:
        raise ConfigError(
            f"expected y_true (N,) and y_score (N, C), got {y_true.shape} and {y_score.shape}"
        )
    thresholds = np.zeros(y_score.shape[1])
    for label in range(y_score.shape[1]):
        own = np.sort(y_score[y_true == label, label])
        k = (
            len(own) + 1 - math.ceil(round((len(own) + 1) * COVERAGE, 9))
        )  # rounded, lest 9 be a hair more than 9
        if k:
            thresholds[label] = own[k - 1]
    return thresholds


def make_sets(y_score: Scores, thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """(N, C) which classes are in the sets of (N, C) probabilities; none at all is an answer too."""
    return np.asarray(y_score >= thresholds)


def judge_sets(predictions: Predictions, temperature: float) -> PredictionSets:
    """Choose the thresholds on val, on the calibrated probabilities, and measure on test what the sets are worth.

    Samples of one group are not exchangeable, so that the promise holds only nearly; the intervals on test take whole groups.
    Raises ConfigError when val or test is missing.
    """
    val, test = predictions.take("val"), predictions.take("test")
    thresholds = set_thresholds(val.y_true, apply_temperature(val.y_score, temperature))
    sets = make_sets(apply_temperature(test.y_score, temperature), thresholds)
    names = predictions.class_names
    return PredictionSets(
        coverage=COVERAGE,
        thresholds=dict(zip(names, thresholds.tolist(), strict=True)),
        overall=_figures(test, sets, np.full(len(test), True)),
        by_class={
            name: _figures(test, sets, test.y_true == label)
            for label, name in enumerate(names)
            if (test.y_true == label).any()
        },
    )


def _figures(
    test: Predictions, sets: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]
) -> SetFigures:
    part, sets = test.where(rows), sets[rows]
    covered = proportion_interval(sets[np.arange(len(part)), part.y_true], part.groups)
    empty = proportion_interval(sets.sum(axis=1) == 0, part.groups)
    if covered is None or empty is None:
        raise ConfigError("there are no test samples to judge prediction sets on")
    return SetFigures(
        len(part), covered, mean_interval(sets.sum(axis=1).astype(np.float64), part.groups), empty
    )
