"""Paired tests against reference implementations and hand-worked values."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from covidxr.errors import ConfigError
from covidxr.metrics.paired_tests import (
    bootstrap_p,
    delong_test,
    holm,
    mcnemar_mid_p,
    placements,
)


def test_mid_p_of_the_example_of_fagerland_2013():
    # Airway hyper-responsiveness before and after stem cell transplantation, 1 and 7 discordant
    # pairs: mid-p 0.039, exact 0.070.
    assert mcnemar_mid_p(1, 7) == pytest.approx(2 * (1 + 8) / 256 - 8 / 256)
    assert mcnemar_mid_p(7, 1) == pytest.approx(0.0391, abs=5e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 80), st.integers(0, 80))
def test_mid_p_is_the_exact_p_less_the_point_probability(b, c):
    point = comb(b + c, b) / 2 ** (b + c)
    exact = mcnemar([[0, b], [c, 0]], exact=True).pvalue
    expected = 1.0 if b == c == 0 else 1 - point / 2 if b == c else exact - point
    assert mcnemar_mid_p(b, c) == pytest.approx(expected, abs=1e-9)
    assert 0 < mcnemar_mid_p(b, c) <= 1


def test_mid_p_of_large_counts_is_near_the_asymptotic():
    assert mcnemar_mid_p(5000, 5200) == pytest.approx(
        mcnemar([[0, 5000], [5200, 0]], exact=False, correction=False).pvalue, rel=1e-3
    )
    with pytest.raises(ConfigError, match="0 or more, got -1 and 2"):
        mcnemar_mid_p(-1, 2)


def delong_by_pairs(positive, score_a, score_b):
    """Difference and its variance from all pairs of samples, DeLong et al. 1988, eq. 3 to 6."""
    kernels = [
        np.where(
            s[positive][:, None] > s[~positive],
            1.0,
            np.where(s[positive][:, None] == s[~positive], 0.5, 0.0),
        )
        for s in (score_a, score_b)
    ]
    s10, s01 = np.cov([k.mean(axis=1) for k in kernels]), np.cov([k.mean(axis=0) for k in kernels])
    covariance = s10 / positive.sum() + s01 / (~positive).sum()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return kernels[0].mean() - kernels[1].mean(), variance


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 80), st.integers(2, 50))
def test_delong_agrees_with_all_pairs_under_ties(seed, n, distinct):
    random = np.random.default_rng(seed)
    positive = np.concatenate([[True, True, False, False], random.random(n - 4) < 0.4])
    score_a, score_b = (np.floor((random.random(n) + 0.3 * positive) * distinct) for _ in range(2))
    difference, variance = delong_by_pairs(positive, score_a, score_b)
    got = delong_test(positive, score_a, score_b)
    assert got.auroc_a == pytest.approx(roc_auc_score(positive, score_a))
    assert got.difference.estimate == pytest.approx(difference)
    if variance > 1e-12:
        assert got.p == pytest.approx(2 * norm.sf(abs(difference) / np.sqrt(variance)), abs=1e-9)
        half = norm.ppf(0.975) * np.sqrt(variance)
        assert (got.difference.low, got.difference.high) == pytest.approx(
            (max(-1, difference - half), min(1, difference + half))
        )
    assert delong_test(positive, score_b, score_a).p == got.p


def test_placements_by_hand():
    # Positives 3 and 1, negatives 0, 1, 2: 3/3 and (1 + 1/2)/3; 2/2, (1 + 1/2)/2 and 1/2.
    is_positive = np.array([True, False, False, True, False])
    positive, negative = placements(is_positive, np.array([3.0, 0.0, 1.0, 1.0, 2.0]))
    assert positive.tolist() == pytest.approx([1, 0.5])
    assert negative.tolist() == pytest.approx([1, 0.75, 0.5])


def test_delong_keeps_its_level_when_the_models_are_equal():
    random = np.random.default_rng(1)
    positive = np.arange(120) % 3 == 0
    p = []
    for _ in range(400):
        shared = random.normal(size=120) + positive
        p.append(
            delong_test(
                positive, shared + random.normal(size=120), shared + random.normal(size=120)
            ).p
        )
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_delong_without_variance_or_samples():
    positive, score = np.array([True, True, False, False]), np.array([4.0, 3.0, 2.0, 1.0])
    same = delong_test(positive, score, score)
    assert (same.p, same.note) == (1.0, "")
    opposite = delong_test(positive, score, -score)
    assert opposite.p is None
    assert "no variance" in opposite.note
    single = delong_test(np.array([True, False, False]), score[:3], score[1:])
    assert single.p is None
    assert single.note.startswith("no test with 1 positive and 2 negative samples")
    with pytest.raises(ConfigError, match="got 3 and 0"):
        delong_test(np.ones(3, bool), score[:3], score[:3])


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_holm_agrees_with_statsmodels(n):
    p_values = np.round(np.random.default_rng(n).random(n) ** 3, 1 + n % 3).tolist()
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def test_the_bootstrap_p_is_the_level_at_which_the_interval_meets_zero():
    # 30 of 999 replicates are below 0.
    differences = np.arange(1, 1000) / 1000 - 0.0305
    assert bootstrap_p(differences) == pytest.approx(2 * 31 / 1000)
    assert bootstrap_p(-differences) == bootstrap_p(differences)
    assert bootstrap_p(np.zeros(99)) == 1.0
    assert bootstrap_p(np.ones(99)) == pytest.approx(0.02)
