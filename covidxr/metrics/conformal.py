"""Prediction sets with guaranteed coverage: split conformal prediction."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from covidxr.cards import PredictionSets, SetMetrics
from covidxr.errors import ConfigError
from covidxr.metrics.calibration import apply_temperature
from covidxr.metrics.intervals import mean_interval, proportion_interval
from covidxr.records import Labels, Predictions, Scores

COVERAGE = 0.9
"""Target proportion of images whose prediction set contains the true class."""


def set_thresholds(y_true: Labels, y_score: Scores) -> npt.NDArray[np.float64]:
    """Compute the class-specific thresholds of prediction sets from calibration samples.

    Each class uses its own n samples: its threshold is their k-th smallest probability of the
    class, k = floor((n + 1)(1 - COVERAGE)). A new, exchangeable sample of any class then has its
    class in the set with a probability of at least COVERAGE. Sadinle, Lei & Wasserman 2019, "Least
    ambiguous set-valued classifiers with bounded error levels", JASA 114:223, section 4; n + 1:
    Vovk 2012, "Conditional validity of inductive conformal predictors", ACML.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities, rows sum to 1.

    Returns:
        (C,) least probability of a class in the set; 0 where n is too small (k = 0), so that the
        class is in every set.

    Raises:
        ConfigError: The shapes differ.
    """
    if y_score.ndim != 2 or y_true.shape != y_score.shape[:1]:
        raise ConfigError(
            f"expected y_true (N,) and y_score (N, C), got {y_true.shape} and {y_score.shape}"
        )
    thresholds = np.zeros(y_score.shape[1])
    for label in range(y_score.shape[1]):
        own = np.sort(y_score[y_true == label, label])
        # Rounded, since floating-point error could lift 9 to 10.
        k = len(own) + 1 - math.ceil(round((len(own) + 1) * COVERAGE, 9))
        if k:
            thresholds[label] = own[k - 1]
    return thresholds


def make_sets(y_score: Scores, thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which classes are in the prediction sets, (N, C), of probabilities (N, C).

    A set may be empty.
    """
    return np.asarray(y_score >= thresholds)


def evaluate_sets(predictions: Predictions, temperature: float) -> PredictionSets:
    """Choose the thresholds on the validation split and measure the sets on the test split.

    Samples of one group are not exchangeable, so coverage is only approximately guaranteed; the
    intervals on test are clustered by group.

    Args:
        predictions: With the splits val and test.
        temperature: Temperature for `apply_temperature`, positive.

    Raises:
        ConfigError: A split is missing.
    """
    val, test = predictions.take("val"), predictions.take("test")
    thresholds = set_thresholds(val.y_true, apply_temperature(val.y_score, temperature))
    sets = make_sets(apply_temperature(test.y_score, temperature), thresholds)
    names = predictions.class_names
    return PredictionSets(
        coverage=COVERAGE,
        thresholds=dict(zip(names, thresholds.tolist(), strict=True)),
        overall=_set_metrics(test, sets, np.full(len(test), True)),
        by_class={
            name: _set_metrics(test, sets, test.y_true == label)
            for label, name in enumerate(names)
            if (test.y_true == label).any()
        },
    )


def _set_metrics(
    test: Predictions, sets: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]
) -> SetMetrics:
    part, sets = test.where(rows), sets[rows]
    covered = proportion_interval(sets[np.arange(len(part)), part.y_true], part.groups)
    empty = proportion_interval(sets.sum(axis=1) == 0, part.groups)
    if covered is None or empty is None:
        raise ConfigError("there are no test samples to evaluate prediction sets on")
    size = mean_interval(sets.sum(axis=1).astype(np.float64), part.groups)
    return SetMetrics(len(part), covered, size, empty)
