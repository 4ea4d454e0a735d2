"""Whether probabilities mean what they say, how to mend them, and the thresholds that turn them into decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.cards import OperatingPoint, ThresholdFigures
from covidxr.errors import ConfigError
from covidxr.metrics.intervals import proportion_interval, ratio_interval
from covidxr.records import Interval, Labels, Scores

SMALLEST_PROBABILITY = 1e-12
"""Probabilities are clipped here before a logarithm is taken: a softmax stored as 0 would cost an infinite loss."""
TEMPERATURES = (0.05, 20.0)


def apply_temperature(y_score: Scores, temperature: float) -> Scores:
    """Probabilities (N, C) after dividing the logits, here log p, by `temperature`; above 1 they become less sure.

    Raises ConfigError unless the temperature is positive and finite. Guo et al. 2017, eq. 9.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ConfigError(f"temperature must be positive, got {temperature}")
    if temperature == 1.0:
        return y_score
    return np.exp(_tempered_logs(y_score, temperature))


def fit_temperature(y_true: Labels, y_score: Scores) -> float:
    """Temperature in [0.05, 20] that makes the negative log-likelihood of (N, C) validation probabilities least.

    At 0.05 the samples are too few or too easy to tell: every one of them is right. Raises ConfigError without samples.
    Guo et al. 2017, section 4.2; the loss is unimodal in log T, which is what Brent's bounded search needs.
    """
    from scipy.optimize import minimize_scalar

    _check(y_true, y_score)
    rows = np.arange(len(y_true))
    found = minimize_scalar(
        lambda log_t: -_tempered_logs(y_score, math.exp(log_t))[rows, y_true].mean(),
        bounds=(math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1])),
        method="bounded",
    )
    return math.exp(float(found.x))


def _tempered_logs(y_score: Scores, temperature: float) -> Scores:
    """(N, C) logarithms of softmax(log p / temperature)."""
    logits = np.log(np.maximum(y_score, SMALLEST_PROBABILITY)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), dtype=np.float64)


def negative_log_likelihood(y_true: Labels, y_score: Scores) -> float:
    """Mean of -log p of the true class, in nats, 0 or more; y_true (N,), y_score (N, C). Guo et al. 2017, eq. 6."""
    _check(y_true, y_score)
    return float(losses(y_true, y_score)[0].mean())


def brier_score(y_true: Labels, y_score: Scores) -> float:
    """Squared distance from the probabilities (N, C) to the truth, summed over the classes, averaged over samples, in [0, 2].

    Brier 1950, "Verification of forecasts expressed in terms of probability", Mon Weather Rev 78:1, eq. 2. With two classes this
    is twice the one-column form.
    """
    _check(y_true, y_score)
    return float(losses(y_true, y_score)[1].mean())


def losses(
    y_true: Labels, y_score: Scores
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Each sample's negative log-likelihood (N,) and Brier score (N,), whose means are the figures of those names."""
    p_true = y_score[np.arange(len(y_true)), y_true]
    squared = (y_score**2).sum(axis=1) - 2 * p_true + 1
    return -np.log(np.maximum(p_true, SMALLEST_PROBABILITY)), np.maximum(squared, 0.0)


def confidence_gaps(y_true: Labels, y_score: Scores, bins: int = 15) -> npt.NDArray[np.float64]:
    """(N, bins) each sample's confidence minus whether it was right, in the column of its confidence bin, 0 elsewhere.

    The calibration error is the sum over columns of the absolute column means.
    """
    if bins < 1:
        raise ConfigError(f"bins must be 1 or more, got {bins}")
    confidence = y_score.max(axis=1)
    gaps = np.zeros((len(y_true), bins))
    gaps[np.arange(len(y_true)), _bin(confidence, bins)] = confidence - (
        y_score.argmax(axis=1) == y_true
    )
    return gaps


def expected_calibration_error(y_true: Labels, y_score: Scores, bins: int = 15) -> float:
    """Gap between confidence and accuracy, averaged over equal-width confidence bins, in [0, 1].

    y_true: (N,) class indices.  y_score: (N, C) probabilities, rows sum to 1.
    Guo et al. 2017, "On calibration of modern neural networks", eq. 3; bins are closed on the right.
    """
    _check(y_true, y_score)
    return float(np.abs(confidence_gaps(y_true, y_score, bins).mean(axis=0)).sum())


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """Probability against observed share for one class; one entry for each bin that holds a sample, in rising order."""

    mean_score: tuple[float, ...]
    observed: tuple[Interval, ...]
    counts: tuple[int, ...]


def reliability_curve(
    y_true: Labels, y_score: Scores, class_index: int, bins: int = 10, groups: Labels | None = None
) -> ReliabilityCurve:
    """How often samples given a probability of one class in a bin are of that class, with the interval of `proportion_interval`.

    y_true: (N,).  y_score: (N, C).  groups: (N,) ids of samples that are not independent, or None.
    Equal-width bins on [0, 1], closed on the right. ConfigError for an unknown class.
    DeGroot & Fienberg 1983, "The comparison and evaluation of forecasters", The Statistician 32:12.
    """
    truth, score = _one_class(y_true, y_score, class_index)
    if bins < 1:
        raise ConfigError(f"bins must be 1 or more, got {bins}")
    place = _bin(score, bins)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=score, minlength=bins)
    held = np.flatnonzero(counts)
    observed = (
        proportion_interval(truth[place == i], None if groups is None else groups[place == i])
        for i in held
    )
    return ReliabilityCurve(
        mean_score=tuple(float(sums[i] / counts[i]) for i in held),
        observed=tuple(interval for interval in observed if interval is not None),
        counts=tuple(int(counts[i]) for i in held),
    )


def figures_at_threshold(
    y_true: Labels,
    y_score: Scores,
    class_index: int,
    threshold: float,
    groups: Labels | None = None,
) -> ThresholdFigures:
    """Sensitivity, specificity, ppv and npv of "score of the class >= threshold", each with its Wilson interval.

    y_true: (N,).  y_score: (N, C).  groups: (N,) ids of samples that are not independent, or None.
    Altman & Bland 1994, BMJ 308:1552 and 309:102; intervals as in `proportion_interval`.
    """
    truth, score = _one_class(y_true, y_score, class_index)
    if not math.isfinite(threshold):
        raise ConfigError(f"threshold must be a number, got {threshold}")
    called = score >= threshold

    def share(hit: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Interval | None:
        return proportion_interval(hit[among], None if groups is None else groups[among])

    return ThresholdFigures(
        threshold=float(threshold),
        positives=int(truth.sum()),
        negatives=int((~truth).sum()),
        called=int(called.sum()),
        sensitivity=share(called, truth),
        specificity=share(~called, ~truth),
        ppv=share(truth, called),
        npv=share(~truth, ~called),
    )


def operating_points(
    y_true: Labels,
    y_score: Scores,
    class_names: tuple[str, ...],
    sensitivity: float = 0.95,
    ppv: float = 0.80,
) -> dict[str, dict[str, OperatingPoint]]:
    """Three thresholds for each class, by class name and then by rule, to be chosen on the validation split.

    "youden": the highest sensitivity + specificity - 1 (Youden 1950, Cancer 3:32), the highest threshold in a tie;
    "sensitivity": the highest threshold that keeps the sensitivity at or above `sensitivity`;
    "ppv": the lowest threshold that brings the ppv to `ppv` or more.
    Thresholds are scores that occur in y_score (N, C); y_true is (N,). Raises ConfigError for shares outside (0, 1].
    """
    for name, share in (("sensitivity", sensitivity), ("ppv", ppv)):
        if not 0 < share <= 1:
            raise ConfigError(f"{name} must be more than 0 and at most 1, got {share}")
    if y_score.shape[1:] != (len(class_names),):
        raise ConfigError(f"expected y_score of shape (N, {len(class_names)}), got {y_score.shape}")
    return {
        name: _points_of_class(y_true, y_score, i, name, sensitivity, ppv)
        for i, name in enumerate(class_names)
    }


def _points_of_class(
    y_true: Labels, y_score: Scores, class_index: int, name: str, sensitivity: float, ppv: float
) -> dict[str, OperatingPoint]:
    from sklearn.metrics import confusion_matrix_at_thresholds

    rules = {
        "youden": "highest sensitivity + specificity - 1",
        "sensitivity": f"highest threshold with a sensitivity of at least {sensitivity:.0%}",
        "ppv": f"lowest threshold with a ppv of at least {ppv:.0%}",
    }
    truth, score = _one_class(y_true, y_score, class_index)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        reason = f"there is no sample {'of' if not positives else 'without'} {name} to choose a threshold on"
        return {key: OperatingPoint(rule, None, None, reason) for key, rule in rules.items()}
    _, fp, _, tp, thresholds = confusion_matrix_at_thresholds(truth, score)  # thresholds fall
    reached = np.flatnonzero(tp / (tp + fp) >= ppv)
    chosen: dict[str, int | None] = {
        "youden": int(
            np.argmax(tp * negatives - fp * positives)
        ),  # in whole numbers, where a tie is a tie
        "sensitivity": int(np.argmax(tp / positives >= sensitivity)),
        "ppv": int(reached[-1]) if len(reached) else None,
    }
    short = f"no threshold reaches a ppv of {ppv:.0%} for {name}; the best is {(tp / (tp + fp)).max():.1%}"
    points = {}
    for key, rule in rules.items():
        i = chosen[key]
        if i is None:
            points[key] = OperatingPoint(rule, None, None, short)
        else:
            threshold = float(thresholds[i])
            points[key] = OperatingPoint(
                rule, threshold, figures_at_threshold(y_true, y_score, class_index, threshold)
            )
    return points


def predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float | None, float | None]:
    """PPV and NPV where `prevalence` of the samples have the disease, by Bayes' theorem; None where nothing is called so.

    All in [0, 1]; raises ConfigError otherwise. Altman & Bland 1994, "Diagnostic tests 2: predictive values", BMJ 309:102.
    """
    for name, share in (
        ("sensitivity", sensitivity),
        ("specificity", specificity),
        ("prevalence", prevalence),
    ):
        if not 0 <= share <= 1:
            raise ConfigError(f"{name} must lie between 0 and 1, got {share}")
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    cleared = specificity * (1 - prevalence) + (1 - sensitivity) * prevalence
    return (
        sensitivity * prevalence / called if called > 0 else None,
        specificity * (1 - prevalence) / cleared if cleared > 0 else None,
    )


def predictive_intervals(
    sensitivity: Interval, specificity: Interval, prevalence: float
) -> tuple[Interval | None, Interval | None]:
    """PPV and NPV at a prevalence with 95 % intervals, from the intervals of sensitivity and specificity.

    A predictive value falls as a likelihood ratio rises, so the interval is that of the ratio (`ratio_interval`) carried through
    Bayes' theorem: Newcombe 2013, "Confidence intervals for proportions and related measures of effect size", ch. 12.
    Raises ConfigError as `predictive_values` does.
    """
    ppv, npv = predictive_values(sensitivity.estimate, specificity.estimate, prevalence)
    false_to_true = ratio_interval(_complement(specificity), sensitivity)
    missed_to_cleared = ratio_interval(_complement(sensitivity), specificity)
    return _through_bayes(ppv, false_to_true, prevalence), _through_bayes(
        npv, missed_to_cleared, 1 - prevalence
    )


def _through_bayes(value: float | None, ratio: Interval, share: float) -> Interval | None:
    if value is None:
        return None
    if share in (0.0, 1.0):
        return Interval(value, value, value)
    low, high = (share / (share + (1 - share) * r) for r in (ratio.high, ratio.low))
    return Interval(value, min(low, value), max(high, value))


def _complement(share: Interval) -> Interval:
    return Interval(1 - share.estimate, 1 - share.high, 1 - share.low)


def _bin(score: npt.NDArray[np.float64], bins: int) -> Labels:
    """(N,) number of the equal-width bin, closed on the right, that a score in [0, 1] falls into."""
    return np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)


def _one_class(
    y_true: Labels, y_score: Scores, class_index: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    _check(y_true, y_score)
    if not 0 <= class_index < y_score.shape[1]:
        raise ConfigError(
            f"class_index must lie between 0 and {y_score.shape[1] - 1}, got {class_index}"
        )
    return y_true == class_index, y_score[:, class_index]


def _check(y_true: Labels, y_score: Scores) -> None:
    if y_score.ndim != 2 or y_true.shape != y_score.shape[:1]:
        raise ConfigError(
            f"expected y_true (N,) and y_score (N, C), got {y_true.shape} and {y_score.shape}"
        )
    if not len(y_true):
        raise ConfigError("there are no samples to judge")
