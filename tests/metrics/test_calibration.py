"""Calibration, thresholds and predictive values against references and hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from covidxr.errors import ConfigError
from covidxr.metrics.calibration import (
    apply_temperature,
    confidence_gaps,
    fit_temperature,
    losses,
    metrics_at_threshold,
    operating_points,
    predictive_intervals,
    predictive_values,
    reliability_curve,
)
from covidxr.metrics.intervals import wilson_interval
from covidxr.records import Interval
from covidxr.storage import to_json
from tests.narrowing import known


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def calibrated(n=20_000, classes=4, seed=0):
    """Labels drawn from the very probabilities that are returned, and their logits."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes)) * 1.5
    y_score = softmax(logits)
    y_true = (y_score.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return y_true.clip(max=classes - 1), y_score, logits


@pytest.mark.parametrize("planted", [0.4, 1.0, 2.0])
def test_a_planted_temperature_is_found(planted):
    y_true, y_score, logits = calibrated()
    overconfident = softmax(logits * planted)
    assert fit_temperature(y_true, overconfident) == pytest.approx(planted, rel=0.05)
    assert np.allclose(apply_temperature(overconfident, planted), y_score, atol=1e-6)


def test_the_fitted_temperature_is_the_least_of_a_fine_grid():
    y_true, _, logits = calibrated(500, seed=3)
    y_score = softmax(logits * 1.7)
    grid = np.geomspace(0.5, 5, 600)
    nll = [-np.log(softmax(np.log(y_score) / t)[np.arange(500), y_true]).mean() for t in grid]
    assert fit_temperature(y_true, y_score) == pytest.approx(grid[int(np.argmin(nll))], rel=0.005)


def test_the_temperature_stays_in_range_when_every_sample_is_correct_or_none():
    y_score = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(np.array([0, 1]), y_score) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(np.array([1, 0]), y_score) == pytest.approx(20, rel=0.01)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 20))
def test_temperature_keeps_the_order_of_classes_and_the_sum_of_one(seed, temperature):
    y_score = np.random.default_rng(seed).dirichlet([0.5, 0.5, 0.5], 20)
    changed = apply_temperature(y_score, temperature)
    assert np.allclose(changed.sum(axis=1), 1)
    assert (changed[np.arange(20), y_score.argmax(axis=1)] >= changed.max(axis=1) - 1e-12).all()


def test_a_probability_of_zero_has_a_finite_loss():
    y_score = np.array([[1.0, 0.0], [0.3, 0.7]])
    assert np.isfinite(losses(np.array([1, 1]), y_score)[0]).all()
    assert np.isfinite(apply_temperature(y_score, 0.05)).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_the_temperature_must_be_positive_and_finite(temperature):
    with pytest.raises(ConfigError, match="temperature must be positive and finite"):
        apply_temperature(np.array([[0.5, 0.5]]), temperature)


def test_losses_agree_with_scikit_learn():
    y_true, y_score, _ = calibrated(300)
    nll, brier = losses(y_true, y_score)
    assert nll.mean() == pytest.approx(log_loss(y_true, y_score))
    assert brier == pytest.approx(((y_score - np.eye(4)[y_true]) ** 2).sum(axis=1))
    two = y_score[:, :2] / y_score[:, :2].sum(axis=1, keepdims=True)
    labels = y_true.clip(max=1)
    expected = 2 * brier_score_loss(labels, two[:, 1])
    assert losses(labels, two)[1].mean() == pytest.approx(expected)


def calibration_error(y_true, y_score, bins=15):
    return np.abs(confidence_gaps(y_true, y_score, bins).mean(axis=0)).sum()


def test_calibration_error_by_hand():
    # Five bins: (0.6, 0.8] holds 0.7 (correct) and 0.8 (incorrect): |1.5 - 1| / 4;
    # (0.8, 1] holds 0.9 and 1.0 (both correct): |1.9 - 2| / 4.
    y_score = np.array([[0.7, 0.3], [0.8, 0.2], [0.1, 0.9], [0.0, 1.0]])
    error = calibration_error(np.array([0, 1, 1, 1]), y_score, bins=5)
    assert error == pytest.approx(0.5 / 4 + 0.1 / 4)


def test_calibration_error_agrees_with_a_loop_over_bins():
    y_true, y_score, _ = calibrated(400, seed=5)
    confidence, correct = y_score.max(axis=1), y_score.argmax(axis=1) == y_true
    total = 0.0
    for low, high in zip(np.arange(15) / 15, np.arange(1, 16) / 15, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert calibration_error(y_true, y_score) == pytest.approx(total)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 20))
def test_calibration_error_is_in_bounds_and_independent_of_order(seed, n, bins):
    random = np.random.default_rng(seed)
    y_true, y_score, order = (
        random.integers(0, 3, n),
        random.dirichlet([1, 1, 1], n),
        random.permutation(n),
    )
    error = calibration_error(y_true, y_score, bins)
    assert 0 <= error <= 1
    assert calibration_error(y_true[order], y_score[order], bins) == pytest.approx(error)


def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_a_large():
    y_true, y_score, logits = calibrated()
    assert calibration_error(y_true, y_score) < 0.02
    assert calibration_error(y_true, softmax(logits * 4)) > 0.1


def test_reliability_curve_agrees_with_scikit_learn():
    y_true, y_score, _ = calibrated(2000)
    curve = reliability_curve(y_true, y_score, 2, bins=8)
    observed, mean_score = calibration_curve(y_true == 2, y_score[:, 2], n_bins=8)
    assert curve.mean_score == pytest.approx(mean_score)
    assert [interval.estimate for interval in curve.observed] == pytest.approx(observed)
    assert sum(curve.counts) == 2000
    assert curve.observed[0] == wilson_interval(
        round(observed[0] * curve.counts[0]), curve.counts[0]
    )


def test_the_reliability_curve_skips_empty_bins():
    curve = reliability_curve(np.array([0, 1]), np.array([[1.0, 0.0], [0.95, 0.05]]), 0)
    assert curve.counts == (2,)
    assert curve.observed[0].estimate == 0.5
    with pytest.raises(ConfigError, match="class_index must lie between 0 and 1, got 2"):
        reliability_curve(np.array([0]), np.array([[1.0, 0.0]]), 2)


def metrics_by_counting(positive, score, threshold):
    tp, fn = (positive & (score >= threshold)).sum(), (positive & (score < threshold)).sum()
    fp, tn = (~positive & (score >= threshold)).sum(), (~positive & (score < threshold)).sum()
    return tp / (tp + fn), tn / (tn + fp), tp / (tp + fp)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60))
@example(172, 6)  # two thresholds of equal index, which rounded fractions would separate
def test_operating_points_are_the_best_of_all_thresholds(seed, n):
    random = np.random.default_rng(seed)
    y_true = np.concatenate([[0, 1], random.integers(0, 2, n - 2)])
    score = np.clip(np.round(0.5 + 0.2 * (1 - 2 * y_true) + random.normal(size=n) * 0.2, 1), 0, 1)
    points = operating_points(y_true, np.column_stack([score, 1 - score]), ("a", "b"))["a"]
    table = {t: metrics_by_counting(y_true == 0, score, t) for t in np.unique(score)}
    best = max(se + sp for se, sp, _ in table.values())
    assert points["youden"].threshold == max(
        t for t, (se, sp, _) in table.items() if se + sp > best - 1e-12
    )
    assert points["sensitivity"].threshold == max(
        t for t, (se, _, _) in table.items() if se >= 0.95
    )
    reaching = [t for t, (_, _, ppv) in table.items() if ppv >= 0.8]
    assert points["ppv"].threshold == (min(reaching) if reaching else None)
    figures = known(points["youden"].figures)
    sensitivity, specificity = known(figures.sensitivity), known(figures.specificity)
    assert (sensitivity.estimate, specificity.estimate) == pytest.approx(
        table[points["youden"].threshold][:2]
    )


def test_an_unreachable_ppv_has_a_reason():
    y_true = np.array([0, 1, 1, 1])
    points = operating_points(y_true, np.array([[0.5, 0.5]] * 4), ("COVID", "Normal"))
    point = points["COVID"]["ppv"]
    assert point.threshold is None
    assert point.figures is None
    assert point.reason == "no threshold reaches a PPV of 80% for COVID-19; the highest is 25.0%"


def test_a_class_without_samples_has_no_operating_point():
    points = operating_points(np.array([0, 0]), np.array([[0.5, 0.5]] * 2), ("COVID", "Normal"))
    absent, only = points["Normal"]["youden"].reason, points["COVID"]["sensitivity"].reason
    assert absent == "no threshold can be chosen: no sample is Normal"
    assert only == "no threshold can be chosen: every sample is COVID-19"
    to_json(points["Normal"]["youden"])


def test_operating_points_reject_invalid_input():
    y_true, y_score = np.array([0, 1]), np.array([[0.5, 0.5]] * 2)
    with pytest.raises(ConfigError, match="sensitivity must be more than 0 and at most 1, got 95"):
        operating_points(y_true, y_score, ("a", "b"), sensitivity=95)
    with pytest.raises(ConfigError, match=r"shape \(N, 3\), got \(2, 2\)"):
        operating_points(y_true, y_score, ("a", "b", "c"))


def test_metrics_at_a_threshold_by_hand():
    y_true, score = np.array([0, 0, 0, 1, 1]), np.array([0.9, 0.5, 0.2, 0.5, 0.1])
    figures = metrics_at_threshold(y_true, np.column_stack([score, 1 - score]), 0, 0.5)
    assert (figures.positives, figures.negatives, figures.called) == (3, 2, 3)
    assert figures.sensitivity == wilson_interval(2, 3)
    assert figures.specificity == wilson_interval(1, 2)
    assert figures.ppv == wilson_interval(2, 3)
    assert figures.npv == wilson_interval(1, 2)
    none = metrics_at_threshold(y_true, np.column_stack([score, 1 - score]), 0, 1.0)
    assert none.ppv is None
    with pytest.raises(ConfigError, match="threshold must be a finite number"):
        metrics_at_threshold(y_true, np.column_stack([score, 1 - score]), 0, math.nan)


def test_predictive_values_of_altman_and_bland_1994():
    # Liver scan: sensitivity 231 of 258, specificity 54 of 86. At the study's prevalence of 0.75
    # PPV is 0.88 and NPV 0.67; at 0.25 they are 0.45 and 0.95.
    ppv, npv = predictive_values(231 / 258, 54 / 86, 258 / 344)
    assert (ppv, npv) == pytest.approx((231 / 263, 54 / 81))
    assert predictive_values(231 / 258, 54 / 86, 0.25) == pytest.approx((0.45, 0.95), abs=0.006)


def test_predictive_values_without_a_denominator_and_out_of_range():
    ppv, npv = predictive_values(0.0, 1.0, 0.3)
    assert ppv is None
    assert npv == pytest.approx(0.7)
    ppv, npv = predictive_values(1.0, 0.0, 0.3)
    assert ppv == pytest.approx(0.3)
    assert npv is None
    with pytest.raises(ConfigError, match="prevalence must lie between 0 and 1, got 20"):
        predictive_values(0.9, 0.9, 20)


def test_predictive_intervals_agree_with_simulation():
    se, sp = wilson_interval(180, 200), wilson_interval(760, 800)
    random = np.random.default_rng(0)
    # Jeffreys' posteriors
    a, b = random.beta(180.5, 20.5, 100_000), random.beta(760.5, 40.5, 100_000)
    ppv, npv = map(known, predictive_intervals(se, sp, 0.05))
    low, high = np.quantile(a * 0.05 / (a * 0.05 + (1 - b) * 0.95), [0.025, 0.975])
    assert (ppv.low, ppv.high) == pytest.approx((low, high), abs=0.02)
    low, high = np.quantile(b * 0.95 / (b * 0.95 + (1 - a) * 0.05), [0.025, 0.975])
    assert (npv.low, npv.high) == pytest.approx((low, high), abs=0.001)


@given(st.tuples(*[st.integers(0, 40)] * 2), st.floats(0, 1))
def test_predictive_intervals_hold_their_estimate(hits, prevalence):
    se, sp = wilson_interval(hits[0], 40), wilson_interval(hits[1], 40)
    for interval in predictive_intervals(se, sp, prevalence):
        assert interval is None or 0 <= interval.low <= interval.estimate <= interval.high <= 1


def test_a_perfect_specificity_does_not_imply_a_perfect_ppv():
    ppv, _ = predictive_intervals(wilson_interval(90, 100), wilson_interval(100, 100), 0.02)
    assert isinstance(ppv, Interval)
    assert ppv.estimate == ppv.high == 1
    assert ppv.low < 0.5


def test_wrong_shapes_and_empty_input_are_rejected():
    with pytest.raises(
        ConfigError, match=r"expected y_true \(N,\) and y_score \(N, C\), got \(3,\) and \(2, 2\)"
    ):
        fit_temperature(np.zeros(3, int), np.full((2, 2), 0.5))
    with pytest.raises(ConfigError, match="no samples to evaluate"):
        fit_temperature(np.zeros(0, int), np.zeros((0, 2)))
    with pytest.raises(ConfigError, match="bins must be 1 or more, got 0"):
        confidence_gaps(np.array([0]), np.array([[0.5, 0.5]]), bins=0)
