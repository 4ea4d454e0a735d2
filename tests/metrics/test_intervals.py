"""Confidence intervals against published, simulated and hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from covidxr.errors import ConfigError
from covidxr.metrics import intervals
from covidxr.metrics.intervals import (
    Z,
    number_groups,
    percentile_interval,
    proportion_interval,
    ratio_interval,
    resampling_weights,
    summed_gap_interval,
    wilson_interval,
)
from covidxr.records import Interval
from tests.narrowing import known


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_intervals_of_newcombe_1998_table_1(successes, n, low, high):
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_statsmodels_and_contains_its_estimate(counts):
    successes, n = counts
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx(
        proportion_confint(successes, n, method="wilson"), abs=1e-9
    )
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.high - interval.low > 0


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 3), (4, 3), (math.nan, 3)])
def test_wilson_rejects_counts_that_are_not_a_proportion(successes, n):
    with pytest.raises(ConfigError, match="0 <= successes <= n"):
        wilson_interval(successes, n)


def test_proportion_of_nothing_is_none():
    assert proportion_interval(np.zeros(0, bool)) is None


def test_proportion_with_groups_by_hand():
    # p = 1/2; group residuals +1 and -1: variance 2 / 4^2 * 2 / 1 = 1/4; of single samples
    # 1/4 / 3; design effect 3; effective size 4/3.
    hits, groups = np.array([True, True, False, False]), np.array([7, 7, 3, 3])
    interval = known(proportion_interval(hits, groups))
    assert interval.low == pytest.approx(wilson_interval(2 / 3, 4 / 3).low)


def test_copies_of_a_sample_add_no_certainty():
    hits = np.random.default_rng(0).random(200) < 0.8
    alone = known(proportion_interval(hits))
    copied = known(proportion_interval(np.repeat(hits, 5), np.repeat(np.arange(200), 5)))
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high), abs=1e-3)
    assert proportion_interval(np.ones(50, bool), np.repeat(np.arange(10), 5)) == wilson_interval(
        10, 10
    )
    single = known(proportion_interval(hits, np.arange(200)))
    assert single.low == pytest.approx(alone.low, abs=1e-9)


def test_proportion_with_groups_matches_a_bootstrap_over_groups():
    random = np.random.default_rng(1)
    groups = random.integers(0, 150, 900)
    hits = random.random(900) < random.beta(4, 2, 150)[groups]
    sizes = np.bincount(groups, minlength=150)
    correct = np.bincount(groups, weights=hits, minlength=150)
    draws = random.integers(0, 150, (4000, 150))
    low, high = np.quantile(correct[draws].sum(axis=1) / sizes[draws].sum(axis=1), [0.025, 0.975])
    interval = known(proportion_interval(hits, groups))
    assert interval.high - interval.low == pytest.approx(high - low, rel=0.08)
    independent = known(proportion_interval(hits))
    assert interval.high - interval.low > 1.2 * (independent.high - independent.low)


def test_ratio_of_symmetric_intervals_is_fiellers():
    # Donner & Zou 2012: for a +- z s the method is Fieller's theorem, the roots of
    # (a - x b)^2 = z^2 (sa^2 + x^2 sb^2).
    a, sa, b, sb = 2.0, 0.3, 5.0, 0.4
    roots = np.sort(np.roots([b**2 - (Z * sb) ** 2, -2 * a * b, a**2 - (Z * sa) ** 2]))
    interval = ratio_interval(
        Interval(a, a - Z * sa, a + Z * sa), Interval(b, b - Z * sb, b + Z * sb)
    )
    assert interval.estimate == pytest.approx(0.4)
    assert (interval.low, interval.high) == pytest.approx(tuple(roots))


def test_ratio_keeps_a_width_at_zero_and_is_infinite_over_zero():
    none, some = wilson_interval(0, 40), wilson_interval(30, 40)
    ratio = ratio_interval(none, some)
    assert ratio.estimate == ratio.low == 0
    assert 0.05 < ratio.high < 0.2
    assert ratio_interval(some, none).estimate == ratio_interval(some, none).high == math.inf


def drawn(*arguments, **options):
    return np.concatenate(list(resampling_weights(*arguments, **options)), axis=1)


def test_every_class_keeps_its_size_in_every_replicate():
    y_true = np.array([0] * 50 + [2] * 7 + [3])
    weights = drawn(y_true, 300, seed=3)
    assert weights.shape == (58, 300)
    for k, size in ((0, 50), (2, 7), (3, 1)):
        assert (weights[y_true == k].sum(axis=0) == size).all()
    # With replacement: a sample is missing from a replicate with a probability of (1 - 1/50)^50.
    assert (weights[:50] == 0).mean() == pytest.approx(0.98**50, abs=0.01)


def test_weights_follow_the_seed():
    y_true = np.arange(60) % 3
    assert np.array_equal(drawn(y_true, 20, seed=5), drawn(y_true, 20, seed=5))
    assert not np.array_equal(drawn(y_true, 20, seed=5), drawn(y_true, 20, seed=6))


def test_groups_are_drawn_whole_within_their_class():
    y_true = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    # The last sample belongs to a group of class 1.
    groups = np.array([9, 9, 4, 4, 5, 5, 8, 8, 8, 2, 2, 2])
    weights = drawn(y_true, 500, groups=groups)
    for group in set(groups.tolist()):
        assert (np.ptp(weights[groups == group], axis=0) == 0).all()
    assert (weights[[0, 2, 4]].sum(axis=0) == 3).all()
    assert (weights[[6, 9]].sum(axis=0) == 2).all()


def test_blocks_are_bounded_and_add_up(monkeypatch):
    monkeypatch.setattr(intervals, "BLOCK_BYTES", 4 * 1000 * 40)
    sizes = [block.shape for block in resampling_weights(np.zeros(1000, int), 100)]
    assert sizes == [(1000, 40), (1000, 40), (1000, 20)]


def test_invalid_replicates_and_groups_are_rejected():
    with pytest.raises(ConfigError, match="2 or more replicates, got 1"):
        drawn(np.zeros(4, int), 1)
    with pytest.raises(ConfigError, match=r"one group per sample, got \(3,\) for 4"):
        drawn(np.zeros(4, int), 10, groups=np.zeros(3, int))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_groups_are_numbered_by_appearance(ids):
    numbered = number_groups(np.array(ids))
    assert numbered.tolist() == [list(dict.fromkeys(ids)).index(i) for i in ids]


def test_percentiles_skip_undefined_replicates():
    replicates = np.append(np.arange(1001) / 1000, np.nan)
    interval = percentile_interval(0.5, replicates)
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))
    assert percentile_interval(0.99, replicates).high == 0.99
    assert percentile_interval(0.7, np.array([np.nan])) == Interval(0.7, 0.7, 0.7)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 15), st.floats(0, 1))
def test_interval_of_summed_gaps_contains_its_estimate_and_stays_in_bounds(seed, bins, spread):
    random = np.random.default_rng(seed)
    gaps = random.uniform(-1, 1, bins) / bins
    interval = summed_gap_interval(
        gaps, gaps[:, None] + spread * random.uniform(-1, 1, (bins, 20)) / bins
    )
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.estimate == pytest.approx(np.abs(gaps).sum())


def test_interval_of_summed_gaps_is_symmetric():
    interval = summed_gap_interval(
        np.array([0.25, -0.05]), np.array([np.linspace(0.2, 0.3, 1001), np.full(1001, -0.05)])
    )
    assert interval.high == pytest.approx(0.05 + 0.2 + 0.1 * 0.975)
    assert interval.low == pytest.approx(0.6 - interval.high)


def test_the_interval_of_gaps_includes_zero_for_mere_noise_only():
    random = np.random.default_rng(0)
    noise = 0.01 * random.normal(size=(15, 2000))
    mere_noise = 0.01 * random.normal(size=(40, 15))
    assert np.mean([summed_gap_interval(g, g[:, None] + noise).low == 0 for g in mere_noise]) > 0.9
    assert summed_gap_interval(np.full(15, 0.03), 0.03 + noise).low > 0.3
