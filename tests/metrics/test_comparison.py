from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import f1_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from covidxr.errors import ConfigError
from covidxr.metrics.comparison import (
    Comparison,
    bootstrap_p,
    compare,
    delong_test,
    holm,
    mcnemar_mid_p,
    placements,
)
from covidxr.records import CLASS_NAMES, Predictions
from covidxr.storage import from_json, to_json


def models(n=300, seed=0, edges=(2.0, 1.6, 0.8)):
    """Predictions of several models on the same samples; the higher the edge the better."""
    random = np.random.default_rng(seed)
    y_true = random.integers(0, 4, n)
    shared = random.normal(size=(n, 4))
    result = []
    for edge in edges:
        logits = shared + 0.5 * random.normal(size=(n, 4))
        logits[np.arange(n), y_true] += edge
        powers = np.exp(logits)
        scores = powers / powers.sum(axis=1, keepdims=True)
        result.append(
            Predictions(
                CLASS_NAMES, tuple(f"{i:04d}.png" for i in range(n)), ("test",) * n, y_true, scores
            )
        )
    return result


def rows(p, chosen):
    return Predictions(
        p.class_names,
        tuple(p.samples[i] for i in chosen),
        tuple(p.splits[i] for i in chosen),
        p.y_true[chosen],
        p.y_score[chosen],
    )


def test_mid_p_of_the_worked_example_of_fagerland_2013():
    # Airway hyper-responsiveness before and after stem cell transplantation, 1 against 7 discordant: mid-p 0.039, exact 0.070.
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


def delong_by_pairs(truth, score_a, score_b):
    """The variance of the difference from all pairs of a positive and a negative, as in DeLong et al. 1988, eq. 3 to 6."""
    kernels = [
        np.where(
            s[truth][:, None] > s[~truth], 1.0, np.where(s[truth][:, None] == s[~truth], 0.5, 0.0)
        )
        for s in (score_a, score_b)
    ]
    s10, s01 = np.cov([k.mean(axis=1) for k in kernels]), np.cov([k.mean(axis=0) for k in kernels])
    covariance = s10 / truth.sum() + s01 / (~truth).sum()
    return kernels[0].mean() - kernels[1].mean(), covariance[0, 0] + covariance[
        1, 1
    ] - 2 * covariance[0, 1]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 80), st.integers(2, 50))
def test_delong_agrees_with_all_pairs_under_ties(seed, n, distinct):
    random = np.random.default_rng(seed)
    truth = np.concatenate([[True, True, False, False], random.random(n - 4) < 0.4])
    score_a, score_b = (np.floor((random.random(n) + 0.3 * truth) * distinct) for _ in range(2))
    difference, variance = delong_by_pairs(truth, score_a, score_b)
    got = delong_test(truth, score_a, score_b)
    assert got.auroc_a == pytest.approx(roc_auc_score(truth, score_a))
    assert got.difference.estimate == pytest.approx(difference)
    if variance > 1e-12:
        assert got.p == pytest.approx(2 * norm.sf(abs(difference) / np.sqrt(variance)), abs=1e-9)
        half = norm.ppf(0.975) * np.sqrt(variance)
        assert (got.difference.low, got.difference.high) == pytest.approx(
            (max(-1, difference - half), min(1, difference + half))
        )
    assert delong_test(truth, score_b, score_a).p == got.p


def test_placements_by_hand():
    # Positives 3 and 1 over negatives 0, 1, 2: 3/3 and (1 + 1/2)/3; each negative: 2/2, (1 + 1/2)/2, 1/2.
    positive, negative = placements(
        np.array([True, False, False, True, False]), np.array([3.0, 0.0, 1.0, 1.0, 2.0])
    )
    assert positive.tolist() == pytest.approx([1, 0.5])
    assert negative.tolist() == pytest.approx([1, 0.75, 0.5])


def test_delong_keeps_its_level_when_the_models_are_equal():
    random = np.random.default_rng(1)
    truth = np.arange(120) % 3 == 0
    p = []
    for _ in range(400):
        shared = random.normal(size=120) + truth
        p.append(
            delong_test(truth, shared + random.normal(size=120), shared + random.normal(size=120)).p
        )
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_delong_without_variance_or_samples():
    truth, score = np.array([True, True, False, False]), np.array([4.0, 3.0, 2.0, 1.0])
    same = delong_test(truth, score, score)
    assert (same.p, same.note) == (1.0, "")
    opposite = delong_test(truth, score, -score)
    assert opposite.p is None
    assert "no variance" in opposite.note
    single = delong_test(np.array([True, False, False]), score[:3], score[1:])
    assert single.p is None
    assert single.note == "only 1 positive and 2 negative samples"
    with pytest.raises(ConfigError, match="got 3 and 0"):
        delong_test(np.ones(3, bool), score[:3], score[:3])


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_holm_agrees_with_statsmodels(n):
    p_values = np.round(np.random.default_rng(n).random(n) ** 3, 1 + n % 3).tolist()
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def test_pairs_are_counted_and_corrected():
    a, b, c = models()
    got = compare([("a", a), ("b", b), ("c", c)], replicates=100)
    assert [(pair.a, pair.b) for pair in got.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair, (x, y) in zip(got.pairs, combinations((a, b, c), 2), strict=True):
        right_x, right_y = x.y_pred == x.y_true, y.y_pred == y.y_true
        assert pair.both_right == (right_x & right_y).sum()
        assert pair.a_right_b_wrong == (right_x & ~right_y).sum()
        assert (
            pair.both_right + pair.a_right_b_wrong + pair.a_wrong_b_right + pair.both_wrong
            == got.n
            == 300
        )
        assert pair.mcnemar_p == mcnemar_mid_p(pair.a_right_b_wrong, pair.a_wrong_b_right)
        macro = [f1_score(p.y_true, p.y_pred, average="macro") for p in (x, y)]
        assert pair.macro_f1_difference.estimate == pytest.approx(macro[0] - macro[1])
        assert pair.accuracy_difference.estimate == pytest.approx(right_x.mean() - right_y.mean())
        assert pair.auroc["COVID"].auroc_b == pytest.approx(
            roc_auc_score(y.y_true == 1, y.y_score[:, 1])
        )
    corrected = multipletests([pair.mcnemar_p for pair in got.pairs], method="holm")[1]
    assert [pair.p_holm for pair in got.pairs] == pytest.approx(list(corrected))
    p = [pair.auroc[name].p for pair in got.pairs for name in CLASS_NAMES]
    corrected = multipletests(p, method="holm")[1]
    assert [pair.auroc[name].p_holm for pair in got.pairs for name in CLASS_NAMES] == pytest.approx(
        list(corrected)
    )
    assert got.pairs[1].p_holm < 0.001
    assert got.pairs[1].macro_f1_difference.low > 0


def test_differences_have_the_width_of_paired_data():
    a, b, _ = models(800)
    pair = compare([("a", a), ("b", b)]).pairs[0]
    only_a, only_b = pair.a_right_b_wrong / 800, pair.a_wrong_b_right / 800
    error = np.sqrt(
        (only_a + only_b - (only_a - only_b) ** 2) / 800
    )  # Agresti 2013, "Categorical data analysis", eq. 11.2
    interval = pair.accuracy_difference
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.12)
    random, strata = np.random.default_rng(5), [np.flatnonzero(a.y_true == k) for k in range(4)]
    loop = []
    for _ in range(100):
        drawn = np.concatenate([random.choice(s, len(s)) for s in strata])
        loop.append(
            np.subtract(
                *[f1_score(p.y_true[drawn], p.y_pred[drawn], average="macro") for p in (a, b)]
            )
        )
    low, high = np.quantile(loop, [0.025, 0.975])
    got = pair.macro_f1_difference
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.3 * (high - low))


def test_a_model_does_not_differ_from_its_copy():
    a = models(60)[0]
    pair = compare([("a", a), ("copy", a)], replicates=50).pairs[0]
    assert pair.mcnemar_p == pair.p_holm == 1
    assert pair.macro_f1_difference.low == pair.macro_f1_difference.high == 0
    assert pair.auroc["Normal"].p == 1


def test_order_of_samples_does_not_matter_and_order_of_models_turns_the_sign():
    a, b, _ = models(90)
    shuffled = rows(b, np.random.default_rng(0).permutation(90))
    one, two = (
        compare([("a", a), ("b", b)], replicates=40),
        compare([("a", a), ("b", shuffled)], replicates=40),
    )
    assert one == two
    turned = compare([("b", b), ("a", a)], replicates=40).pairs[0]
    assert turned.macro_f1_difference.low == pytest.approx(-one.pairs[0].macro_f1_difference.high)
    assert turned.mcnemar_p == one.pairs[0].mcnemar_p


def test_other_samples_are_refused_or_left_out_when_asked():
    a, b, c = models(100)
    b, c = rows(b, np.arange(20, 100)), rows(c, np.arange(90))
    with pytest.raises(
        ConfigError,
        match="a and b were not judged on the same test samples: 100 and 80, of which they share 80",
    ):
        compare([("a", a), ("b", b)])
    with pytest.raises(
        ConfigError,
        match="b and c were not judged on the same test samples: 80 and 90, of which they share 70",
    ):
        compare([("b", b), ("c", c)])
    got = compare([("a", a), ("b", b), ("c", c)], intersect=True, replicates=20)
    assert got.n == 70
    assert got.dropped == {"a": 30, "b": 10, "c": 20}
    assert got.notes == ("compared on the 70 test samples that all 3 models have",)
    alone = compare(
        [
            (n, rows(p, [i for i, s in enumerate(p.samples) if "0020" <= s < "0090"]))
            for n, p in zip("abc", (a, b, c), strict=True)
        ],
        replicates=20,
    )
    assert got.pairs == alone.pairs
    with pytest.raises(ConfigError, match=r"a \(20 test samples\) and b \(80\) share 0"):
        compare([("a", rows(a, np.arange(20))), ("b", b)], intersect=True)


def test_other_classes_or_labels_are_refused_even_on_the_intersection():
    a, b, _ = models(40)
    renamed = replace(b, class_names=("COVID", "Normal", "Viral Pneumonia", "Lung_Opacity"))
    with pytest.raises(
        ConfigError,
        match=r"a and b cannot be compared: their classes are Normal, COVID.* \(4\) and COVID, Normal",
    ):
        compare([("a", a), ("b", renamed)], intersect=True)
    labels = b.y_true.copy()
    labels[:3] = (labels[:3] + 1) % 4
    with pytest.raises(
        ConfigError, match="a and b disagree on the true class of 3 of 40 test samples"
    ):
        compare([("a", a), ("b", replace(b, y_true=labels))], intersect=True)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"]])
def test_a_comparison_needs_two_different_models(names):
    a = models(20)[0]
    with pytest.raises(ConfigError, match="two or more different models"):
        compare([(name, a) for name in names])


def test_groups_widen_the_interval_and_are_told_of():
    a, b, _ = models(100)
    names = tuple(f"{i:04d}" for i in range(500))
    copied = [
        Predictions(
            CLASS_NAMES,
            names,
            ("test",) * 500,
            np.repeat(p.y_true, 5),
            np.repeat(p.y_score, 5, axis=0),
        )
        for p in (a, b)
    ]
    entries = list(zip("ab", copied, strict=True))
    naive, grouped = compare(entries), compare(entries, groups=np.repeat(np.arange(100), 5))
    width = [
        c.pairs[0].macro_f1_difference.high - c.pairs[0].macro_f1_difference.low
        for c in (naive, grouped)
    ]
    assert width[1] > 1.8 * width[0]
    assert grouped.n_groups == 100
    assert "the 500 form 100 groups" in grouped.notes[0]
    with pytest.raises(ConfigError, match="one group for each of the 500 samples of a"):
        compare(entries, groups=np.zeros(3, int))


def test_a_class_without_samples_has_no_auroc():
    a, b, _ = models(60)
    present = np.flatnonzero(a.y_true != 2)
    got = compare([("a", rows(a, present)), ("b", rows(b, present))], replicates=20)
    assert set(got.pairs[0].auroc) == {"Normal", "COVID", "Lung_Opacity"}


def test_the_record_goes_to_json_and_back():
    a, b, _ = models(60)
    got = compare([("a", a), ("b", b)], replicates=20)
    assert from_json(Comparison, to_json(got)) == got
    plain = json.loads(to_json(got))
    assert plain["models"] == ["a", "b"]
    assert plain["n"] == 60
    assert {"a", "b", "mcnemar_p", "p_holm"} <= set(plain["pairs"][0])


def test_the_bootstrap_p_is_the_level_at_which_the_interval_meets_nought():
    differences = np.arange(1, 1000) / 1000 - 0.0305  # 30 of 999 replicates lie below 0
    assert bootstrap_p(differences) == pytest.approx(2 * 31 / 1000)
    assert bootstrap_p(-differences) == bootstrap_p(differences)
    assert bootstrap_p(np.zeros(99)) == 1.0
    assert bootstrap_p(np.ones(99)) == pytest.approx(0.02)


def test_macro_f1_is_corrected_over_all_pairs():
    y_true, right = np.tile(np.arange(4), 100), np.tile(np.arange(4), 100)
    random = np.random.default_rng(0)

    def model(errors):
        y_pred = right.copy()
        y_pred[random.choice(400, errors, replace=False)] += 1
        scores = np.full((400, 4), 0.1)
        scores[np.arange(400), y_pred % 4] = 0.7
        return Predictions(
            tuple("abcd"), tuple(f"{i:03d}" for i in range(400)), ("test",) * 400, y_true, scores
        )

    pairs = compare([("good", model(20)), ("fair", model(40)), ("poor", model(160))]).pairs
    assert [pair.macro_f1_p_holm for pair in pairs] == holm([pair.macro_f1_p for pair in pairs])
    far = next(pair for pair in pairs if (pair.a, pair.b) == ("good", "poor"))
    assert far.macro_f1_p == pytest.approx(2 / 1001)
    assert far.real
    assert "more than chance explains (p < 0.001)" in far.sentence
