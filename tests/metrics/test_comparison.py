"""Comparisons of models against reference implementations."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from statsmodels.stats.multitest import multipletests

from covidxr.errors import ConfigError
from covidxr.metrics.comparison import Comparison, compare
from covidxr.metrics.paired_tests import holm, mcnemar_mid_p
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


def test_pairs_are_counted_and_corrected():
    a, b, c = models()
    got = compare([("a", a), ("b", b), ("c", c)], replicates=100)
    assert [(pair.a, pair.b) for pair in got.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair, (x, y) in zip(got.pairs, combinations((a, b, c), 2), strict=True):
        correct_x, correct_y = x.y_pred == x.y_true, y.y_pred == y.y_true
        assert pair.both_right == (correct_x & correct_y).sum()
        assert pair.a_right_b_wrong == (correct_x & ~correct_y).sum()
        assert (
            pair.both_right + pair.a_right_b_wrong + pair.a_wrong_b_right + pair.both_wrong
            == got.n
            == 300
        )
        assert pair.mcnemar_p == mcnemar_mid_p(pair.a_right_b_wrong, pair.a_wrong_b_right)
        macro = [f1_score(p.y_true, p.y_pred, average="macro") for p in (x, y)]
        assert pair.macro_f1_difference.estimate == pytest.approx(macro[0] - macro[1])
        difference = correct_x.mean() - correct_y.mean()
        assert pair.accuracy_difference.estimate == pytest.approx(difference)
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
    # Agresti 2013, "Categorical data analysis", eq. 11.2
    error = np.sqrt((only_a + only_b - (only_a - only_b) ** 2) / 800)
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


def test_sample_order_does_not_matter_and_model_order_reverses_the_sign():
    a, b, _ = models(90)
    shuffled = rows(b, np.random.default_rng(0).permutation(90))
    one, two = (
        compare([("a", a), ("b", b)], replicates=40),
        compare([("a", a), ("b", shuffled)], replicates=40),
    )
    assert one == two
    reversed_ = compare([("b", b), ("a", a)], replicates=40).pairs[0]
    difference = one.pairs[0].macro_f1_difference
    assert reversed_.macro_f1_difference.low == pytest.approx(-difference.high)
    assert reversed_.mcnemar_p == one.pairs[0].mcnemar_p


def test_unshared_samples_are_rejected_or_excluded_on_request():
    a, b, c = models(100)
    b, c = rows(b, np.arange(20, 100)), rows(c, np.arange(90))
    with pytest.raises(
        ConfigError,
        match="a and b were not evaluated on the same test samples: 100 and 80, 80 of them shared",
    ):
        compare([("a", a), ("b", b)])
    with pytest.raises(
        ConfigError,
        match="b and c were not evaluated on the same test samples: 80 and 90, 70 of them shared",
    ):
        compare([("b", b), ("c", c)])
    got = compare([("a", a), ("b", b), ("c", c)], intersect=True, replicates=20)
    assert got.n == 70
    assert got.dropped == {"a": 30, "b": 10, "c": 20}
    assert got.notes == ("compared on the 70 test samples shared by all 3 models",)
    alone = compare(
        [
            (n, rows(p, [i for i, s in enumerate(p.samples) if "0020" <= s < "0090"]))
            for n, p in zip("abc", (a, b, c), strict=True)
        ],
        replicates=20,
    )
    assert got.pairs == alone.pairs
    with pytest.raises(ConfigError, match=r"shared by all models: a \(20\) and b \(80\) share 0"):
        compare([("a", rows(a, np.arange(20))), ("b", b)], intersect=True)


def test_different_classes_or_labels_are_rejected_even_on_shared_samples():
    a, b, _ = models(40)
    renamed = replace(b, class_names=("COVID", "Normal", "Viral Pneumonia", "Lung_Opacity"))
    with pytest.raises(
        ConfigError,
        match=r"a and b cannot be compared: .* but are Normal, COVID.* and COVID, Normal",
    ):
        compare([("a", a), ("b", renamed)], intersect=True)
    labels = b.y_true.copy()
    labels[:3] = (labels[:3] + 1) % 4
    with pytest.raises(
        ConfigError, match="true classes of 3 of 40 test samples differ between a and b"
    ):
        compare([("a", a), ("b", replace(b, y_true=labels))], intersect=True)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"]])
def test_a_comparison_needs_two_different_models(names):
    a = models(20)[0]
    with pytest.raises(ConfigError, match="two or more different models"):
        compare([(name, a) for name in names])


def test_groups_widen_the_interval_and_add_a_note():
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
    assert "assume 500 independent samples" in grouped.notes[0]
    assert "clustered (100 groups)" in grouped.notes[0]
    with pytest.raises(ConfigError, match=r"one group per sample of a \(500\), got \(3,\)"):
        compare(entries, groups=np.zeros(3, int))


def test_a_class_without_samples_has_no_auroc():
    a, b, _ = models(60)
    present = np.flatnonzero(a.y_true != 2)
    got = compare([("a", rows(a, present)), ("b", rows(b, present))], replicates=20)
    assert set(got.pairs[0].auroc) == {"Normal", "COVID", "Lung_Opacity"}


def test_a_comparison_survives_json():
    a, b, _ = models(60)
    got = compare([("a", a), ("b", b)], replicates=20)
    assert from_json(Comparison, to_json(got)) == got
    plain = json.loads(to_json(got))
    assert plain["models"] == ["a", "b"]
    assert plain["n"] == 60
    assert {"a", "b", "mcnemar_p", "p_holm"} <= set(plain["pairs"][0])


def test_macro_f1_is_corrected_over_all_pairs():
    y_true = np.tile(np.arange(4), 100)
    random = np.random.default_rng(0)

    def model(errors):
        y_pred = y_true.copy()
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
    assert far.sentence == "good makes 140 fewer errors than poor (significant, p < 0.001)"


def test_a_difference_of_one_error_is_not_significant():
    a = models(60)[0]
    worse = np.roll(a.y_score, 1, axis=1)
    first = int(np.flatnonzero(a.y_pred == a.y_true)[0])
    y_score = a.y_score.copy()
    y_score[first] = worse[first]
    pair = compare([("a", a), ("b", replace(a, y_score=y_score))], replicates=50).pairs[0]
    assert pair.sentence == "a makes 1 fewer error than b (not significant, p = 0.500)"
