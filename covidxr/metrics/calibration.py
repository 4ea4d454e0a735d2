"""Calibration of probabilities, decision thresholds and predictive values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.cards import OperatingPoint, ThresholdMetrics
from covidxr.errors import ConfigError
from covidxr.metrics.intervals import proportion_interval, ratio_interval
from covidxr.records import Interval, Labels, Scores, display_name

SMALLEST_PROBABILITY = 1e-12
"""Lower bound of a probability before its logarithm: a stored 0 would give an infinite loss."""
TEMPERATURES = (0.05, 20.0)
"""Range of the temperature search."""


def apply_temperature(y_score: Scores, temperature: float) -> Scores:
    """Scale probabilities by a temperature: softmax(log p / temperature), Guo et al. 2017, eq. 9.

    Args:
        y_score: (N, C) probabilities, rows sum to 1.
        temperature: Positive and finite; above 1 it lowers the confidence.

    Returns:
        (N, C) probabilities.

    Raises:
        ConfigError: The temperature is not positive and finite.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ConfigError(f"temperature must be positive and finite, got {temperature}")
    if temperature == 1.0:
        return y_score
    return np.exp(_tempered_logs(y_score, temperature))


def fit_temperature(y_true: Labels, y_score: Scores) -> float:
    """Find the temperature that minimizes the negative log-likelihood of validation probabilities.

    Guo et al. 2017, section 4.2. The loss is unimodal in log T, as Brent's bounded search requires.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities, rows sum to 1.

    Returns:
        Temperature in [0.05, 20]; 0.05 where every sample is correct, so that there is no minimum.

    Raises:
        ConfigError: There are no samples, or the shapes differ.
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
    """Return the (N, C) logarithms of softmax(log p / temperature)."""
    logits = np.log(np.maximum(y_score, SMALLEST_PROBABILITY)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), dtype=np.float64)


def losses(
    y_true: Labels, y_score: Scores
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute the negative log-likelihood and the Brier score of each sample.

    Negative log-likelihood: Guo et al. 2017, eq. 6. Brier score, summed over the classes (with two
    classes twice the one-column form): Brier 1950, "Verification of forecasts expressed in terms of
    probability", Mon Weather Rev 78:1, eq. 2.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities, rows sum to 1.

    Returns:
        (N,) in nats, 0 or more, and (N,) in [0, 2]. The metrics are the means.
    """
    p_true = y_score[np.arange(len(y_true)), y_true]
    squared = (y_score**2).sum(axis=1) - 2 * p_true + 1
    return -np.log(np.maximum(p_true, SMALLEST_PROBABILITY)), np.maximum(squared, 0.0)


def confidence_gaps(y_true: Labels, y_score: Scores, bins: int = 15) -> npt.NDArray[np.float64]:
    """Compute the terms of the expected calibration error: confidence minus correctness.

    The error is the sum over bins of the absolute column means: Guo et al. 2017, "On calibration of
    modern neural networks", eq. 3.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities, rows sum to 1.
        bins: Number of equal-width confidence bins, closed on the right; 1 or more.

    Returns:
        (N, bins), 0 outside the column of a sample's confidence bin.

    Raises:
        ConfigError: bins is less than 1.
    """
    if bins < 1:
        raise ConfigError(f"bins must be 1 or more, got {bins}")
    confidence = y_score.max(axis=1)
    gaps = np.zeros((len(y_true), bins))
    gaps[np.arange(len(y_true)), _bin(confidence, bins)] = confidence - (
        y_score.argmax(axis=1) == y_true
    )
    return gaps


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """Observed frequency of one class by predicted probability, one entry per occupied bin."""

    mean_score: tuple[float, ...]
    """Mean predicted probability."""
    observed: tuple[Interval, ...]
    counts: tuple[int, ...]


def reliability_curve(
    y_true: Labels, y_score: Scores, class_index: int, bins: int = 10, groups: Labels | None = None
) -> ReliabilityCurve:
    """Compute the reliability curve of one class, with the intervals of `proportion_interval`.

    DeGroot & Fienberg 1983, "The comparison and evaluation of forecasters", The Statistician 32:12.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities, rows sum to 1.
        class_index: In [0, C).
        bins: Number of equal-width bins on [0, 1], closed on the right; 1 or more.
        groups: (N,) ids shared by dependent samples; None takes samples as independent.

    Raises:
        ConfigError: The class is unknown, bins is less than 1, or there are no samples.
    """
    positive, score = _one_class(y_true, y_score, class_index)
    if bins < 1:
        raise ConfigError(f"bins must be 1 or more, got {bins}")
    place = _bin(score, bins)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=score, minlength=bins)
    occupied = np.flatnonzero(counts)
    observed = (
        proportion_interval(positive[place == i], None if groups is None else groups[place == i])
        for i in occupied
    )
    return ReliabilityCurve(
        mean_score=tuple(float(sums[i] / counts[i]) for i in occupied),
        observed=tuple(interval for interval in observed if interval is not None),
        counts=tuple(int(counts[i]) for i in occupied),
    )


def metrics_at_threshold(
    y_true: Labels,
    y_score: Scores,
    class_index: int,
    threshold: float,
    groups: Labels | None = None,
) -> ThresholdMetrics:
    """Compute sensitivity, specificity, PPV and NPV of the rule "probability >= threshold".

    Altman & Bland 1994, BMJ 308:1552 and 309:102; intervals as in `proportion_interval`.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities, rows sum to 1.
        class_index: In [0, C).
        threshold: Any finite number.
        groups: (N,) ids shared by dependent samples; None takes samples as independent.

    Raises:
        ConfigError: The class is unknown, the threshold is not finite, or there are no samples.
    """
    positive, score = _one_class(y_true, y_score, class_index)
    if not math.isfinite(threshold):
        raise ConfigError(f"threshold must be a finite number, got {threshold}")
    predicted = score >= threshold

    def share(hit: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Interval | None:
        return proportion_interval(hit[among], None if groups is None else groups[among])

    return ThresholdMetrics(
        threshold=float(threshold),
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        called=int(predicted.sum()),
        sensitivity=share(predicted, positive),
        specificity=share(~predicted, ~positive),
        ppv=share(positive, predicted),
        npv=share(~positive, ~predicted),
    )


def operating_points(
    y_true: Labels,
    y_score: Scores,
    class_names: tuple[str, ...],
    sensitivity: float = 0.95,
    ppv: float = 0.80,
) -> dict[str, dict[str, OperatingPoint]]:
    """Choose three thresholds for each class on the validation split.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities, rows sum to 1.
        class_names: C names.
        sensitivity: Least sensitivity for the rule "sensitivity", in (0, 1].
        ppv: Least PPV for the rule "ppv", in (0, 1].

    Returns:
        By class name and rule; each threshold occurs in y_score.

        "youden": the highest sensitivity + specificity - 1 (Youden 1950, Cancer 3:32), the highest
        threshold in a tie. "sensitivity": the highest threshold with at least that sensitivity.
        "ppv": the lowest threshold with at least that PPV.

    Raises:
        ConfigError: A target is outside (0, 1], or the shapes differ.
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
        "ppv": f"lowest threshold with a PPV of at least {ppv:.0%}",
    }
    positive, score = _one_class(y_true, y_score, class_index)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        few = "no" if not positives else "every"
        reason = f"no threshold can be chosen: {few} sample is {display_name(name)}"
        return {key: OperatingPoint(rule, None, None, reason) for key, rule in rules.items()}
    _, fp, _, tp, thresholds = confusion_matrix_at_thresholds(positive, score)
    # The thresholds descend.
    reached = np.flatnonzero(tp / (tp + fp) >= ppv)
    chosen: dict[str, int | None] = {
        # In whole numbers, in which ties are exact.
        "youden": int(np.argmax(tp * negatives - fp * positives)),
        "sensitivity": int(np.argmax(tp / positives >= sensitivity)),
        "ppv": int(reached[-1]) if len(reached) else None,
    }
    best = (tp / (tp + fp)).max()
    missed = (
        f"no threshold reaches a PPV of {ppv:.0%} for {display_name(name)}; "
        f"the highest is {best:.1%}"
    )
    points = {}
    for key, rule in rules.items():
        i = chosen[key]
        if i is None:
            points[key] = OperatingPoint(rule, None, None, missed)
        else:
            threshold = float(thresholds[i])
            points[key] = OperatingPoint(
                rule, threshold, metrics_at_threshold(y_true, y_score, class_index, threshold)
            )
    return points


def predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float | None, float | None]:
    """Compute PPV and NPV at a prevalence by Bayes' theorem.

    Altman & Bland 1994, "Diagnostic tests 2: predictive values", BMJ 309:102.

    Args:
        sensitivity: In [0, 1].
        specificity: In [0, 1].
        prevalence: Proportion of samples with the disease, in [0, 1].

    Returns:
        PPV and NPV in [0, 1]; None where no sample is predicted positive, or negative.

    Raises:
        ConfigError: An argument is outside [0, 1].
    """
    for name, share in (
        ("sensitivity", sensitivity),
        ("specificity", specificity),
        ("prevalence", prevalence),
    ):
        if not 0 <= share <= 1:
            raise ConfigError(f"{name} must lie between 0 and 1, got {share}")
    positive = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    negative = specificity * (1 - prevalence) + (1 - sensitivity) * prevalence
    return (
        sensitivity * prevalence / positive if positive > 0 else None,
        specificity * (1 - prevalence) / negative if negative > 0 else None,
    )


def predictive_intervals(
    sensitivity: Interval, specificity: Interval, prevalence: float
) -> tuple[Interval | None, Interval | None]:
    """Compute PPV and NPV at a prevalence with 95% intervals.

    A predictive value is a monotone function of a likelihood ratio, so its interval is that of the
    ratio (`ratio_interval`) transformed by Bayes' theorem: Newcombe 2013, "Confidence intervals for
    proportions and related measures of effect size", ch. 12.

    Args:
        sensitivity: With its 95% interval.
        specificity: With its 95% interval.
        prevalence: Proportion of samples with the disease, in [0, 1].

    Returns:
        PPV and NPV; None where no sample is predicted positive, or negative.

    Raises:
        ConfigError: An argument is outside [0, 1].
    """
    ppv, npv = predictive_values(sensitivity.estimate, specificity.estimate, prevalence)
    false_to_true = ratio_interval(_complement(specificity), sensitivity)
    missed_to_true = ratio_interval(_complement(sensitivity), specificity)
    return (
        _through_bayes(ppv, false_to_true, prevalence),
        _through_bayes(npv, missed_to_true, 1 - prevalence),
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
    """Return the (N,) equal-width bin, closed on the right, of each score in [0, 1]."""
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
        raise ConfigError("there are no samples to evaluate")
