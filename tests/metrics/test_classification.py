from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from covidxr.errors import ConfigError
from covidxr.metrics.calibration import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
)
from covidxr.metrics.classification import (
    Evaluation,
    confusion_figures,
    evaluate,
    weighted_confusion,
    weighted_ranking,
)
from covidxr.metrics.intervals import resampling_weights, wilson_interval
from covidxr.records import CLASS_NAMES, Predictions
from covidxr.storage import from_json, to_json


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def predictions(n=400, seed=0, shares=(0.48, 0.17, 0.07, 0.28), edge=2.0):
    random = np.random.default_rng(seed)
    y_true = random.choice(4, n, p=shares).astype(np.int64)
    logits = random.normal(size=(n, 4))
    logits[np.arange(n), y_true] += edge
    names = tuple(f"images/{i}.png" for i in random.permutation(n))
    return Predictions(CLASS_NAMES, names, ("test",) * n, y_true, softmax(logits))


def given_scores(y_true, y_score, class_names=("a", "b", "c")):
    n = len(y_true)
    return Predictions(
        class_names,
        tuple(f"{i:03d}" for i in range(n)),
        ("test",) * n,
        np.array(y_true),
        np.array(y_score, float),
    )


def intervals_of(evaluation):
    overall = [
        evaluation.accuracy,
        evaluation.balanced_accuracy,
        evaluation.macro_f1,
        evaluation.kappa,
        evaluation.mcc,
    ]
    overall += [evaluation.nll, evaluation.brier, evaluation.ece]
    names = (
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "f1",
        "auroc",
        "auprc",
        "ppv_at_prevalence",
        "npv_at_prevalence",
    )
    return [
        i
        for i in overall + [getattr(c, m) for c in evaluation.per_class.values() for m in names]
        if i is not None
    ]


def test_estimates_agree_with_scikit_learn():
    p = predictions()
    got = evaluate(p, replicates=2)
    y_true, y_pred, one_hot = p.y_true, p.y_pred, np.eye(4)[p.y_true]
    assert np.array_equal(got.confusion_matrix, reference.confusion_matrix(y_true, y_pred))
    assert got.accuracy.estimate == pytest.approx(reference.accuracy_score(y_true, y_pred))
    assert got.balanced_accuracy.estimate == pytest.approx(
        reference.balanced_accuracy_score(y_true, y_pred)
    )
    assert got.macro_f1.estimate == pytest.approx(
        reference.f1_score(y_true, y_pred, average="macro")
    )
    assert got.kappa.estimate == pytest.approx(reference.cohen_kappa_score(y_true, y_pred))
    assert got.mcc.estimate == pytest.approx(reference.matthews_corrcoef(y_true, y_pred))
    assert got.nll.estimate == pytest.approx(reference.log_loss(y_true, p.y_score))
    assert got.brier.estimate == pytest.approx(brier_score(y_true, p.y_score))
    assert got.ece.estimate == pytest.approx(expected_calibration_error(y_true, p.y_score))
    for k, name in enumerate(CLASS_NAMES):
        figures = got.per_class[name]
        assert figures.support == (y_true == k).sum()
        assert figures.sensitivity.estimate == pytest.approx(
            reference.recall_score(y_true == k, y_pred == k)
        )
        assert figures.specificity.estimate == pytest.approx(
            reference.recall_score(y_true != k, y_pred != k)
        )
        assert figures.ppv.estimate == pytest.approx(
            reference.precision_score(y_true == k, y_pred == k)
        )
        assert figures.npv.estimate == pytest.approx(
            reference.precision_score(y_true != k, y_pred != k)
        )
        assert figures.f1.estimate == pytest.approx(reference.f1_score(y_true == k, y_pred == k))
        assert figures.auroc.estimate == pytest.approx(
            reference.roc_auc_score(one_hot[:, k], p.y_score[:, k])
        )
        assert figures.auprc.estimate == pytest.approx(
            reference.average_precision_score(one_hot[:, k], p.y_score[:, k])
        )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 12))
def test_weighted_ranking_agrees_with_scikit_learn_under_ties(seed, n, distinct):
    random = np.random.default_rng(seed)
    truth = random.random(n) < 0.4
    truth[:2] = True, False
    score = random.integers(0, distinct, n) / distinct
    weights = random.integers(0, 4, (n, 3)).astype(np.float32)
    weights[:2] += 1
    auroc, auprc = weighted_ranking(truth, score, weights)
    for b in range(3):
        assert auroc[b] == pytest.approx(
            reference.roc_auc_score(truth, score, sample_weight=weights[:, b]), abs=1e-6
        )
        assert auprc[b] == pytest.approx(
            reference.average_precision_score(truth, score, sample_weight=weights[:, b]), abs=1e-6
        )


def test_ranking_is_not_defined_without_positives_or_negatives():
    score, weights = np.array([0.1, 0.2]), np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    assert np.isnan(weighted_ranking(np.array([True, True]), score, weights)).all()
    auroc, auprc = weighted_ranking(np.array([True, False]), score, weights)
    assert np.array_equal(auroc, [0.0, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(auprc, [0.5, np.nan, 1.0], equal_nan=True)


def test_float32_blocks_are_as_exact_as_float64():
    p = predictions(5000, edge=1.0)
    block = next(resampling_weights(p.y_true, 20))
    exact = weighted_ranking(p.y_true == 1, p.y_score[:, 1], block.astype(np.float64))
    assert np.allclose(weighted_ranking(p.y_true == 1, p.y_score[:, 1], block), exact, atol=1e-5)


def test_kappa_and_mcc_worked_by_hand():
    # Two raters, 20 + 15 agreements of 50: observed 0.7, expected 0.5, kappa 0.4; mcc (20*15 - 5*10) / sqrt(30*25*25*20).
    figures = confusion_figures(np.array([[20.0, 5], [10, 15]])[:, :, None])
    assert figures["kappa"][0] == pytest.approx(0.4)
    assert figures["mcc"][0] == pytest.approx(250 / np.sqrt(30 * 25 * 25 * 20))


def test_replicates_are_the_figures_of_the_drawn_samples():
    p = predictions(120)
    block = next(resampling_weights(p.y_true, 8, seed=1))
    figures = confusion_figures(weighted_confusion(p.y_true, p.y_pred, 4, block))
    for b in range(8):
        rows = np.repeat(np.arange(120), block[:, b].astype(int))
        y_true, y_pred = p.y_true[rows], p.y_pred[rows]
        assert figures["macro_f1"][b] == pytest.approx(
            reference.f1_score(y_true, y_pred, average="macro")
        )
        assert figures["kappa"][b] == pytest.approx(reference.cohen_kappa_score(y_true, y_pred))
        assert figures["mcc"][b] == pytest.approx(reference.matthews_corrcoef(y_true, y_pred))
        assert figures["balanced_accuracy"][b] == pytest.approx(
            reference.balanced_accuracy_score(y_true, y_pred)
        )


def test_bootstrap_intervals_agree_with_a_plain_loop():
    p = predictions(300, seed=4)
    random, strata = np.random.default_rng(9), [np.flatnonzero(p.y_true == k) for k in range(4)]
    loop = []
    for _ in range(150):
        rows = np.concatenate([random.choice(s, len(s)) for s in strata])
        y_true, y_score = p.y_true[rows], p.y_score[rows]
        one = (
            reference.f1_score(y_true, y_score.argmax(1), average="macro"),
            reference.roc_auc_score(y_true == 2, y_score[:, 2]),
        )
        loop.append((*one, brier_score(y_true, y_score), negative_log_likelihood(y_true, y_score)))
    low, high = np.quantile(loop, [0.025, 0.975], axis=0)
    got = evaluate(p)
    for i, interval in enumerate(
        (got.macro_f1, got.per_class["Viral Pneumonia"].auroc, got.brier, got.nll)
    ):
        assert (interval.low, interval.high) == pytest.approx(
            (low[i], high[i]), abs=0.25 * (high[i] - low[i])
        )


def test_proportions_have_wilsons_interval():
    p = predictions()
    got = evaluate(p, replicates=2)
    assert got.accuracy == wilson_interval(int((p.y_pred == p.y_true).sum()), len(p))
    called = p.y_pred == 1
    assert got.per_class["COVID"].ppv == wilson_interval(
        int((p.y_true[called] == 1).sum()), int(called.sum())
    )


@pytest.mark.parametrize("n", [8, 60])
@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_hold_their_estimates_and_stay_in_bounds(n, grouped):
    for seed in range(4):
        p = predictions(n, seed, edge=1.0)
        groups = np.random.default_rng(seed).integers(0, n // 2, n) if grouped else None
        got = evaluate(p, groups=groups, prevalence={"COVID": 0.02}, replicates=200)
        for interval in intervals_of(got):
            assert interval.low <= interval.estimate <= interval.high
        for interval in intervals_of(
            replace(got, kappa=None, mcc=None, nll=got.accuracy, brier=got.accuracy)
        ):
            assert interval.low >= 0
            assert interval.high <= 1


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_nothing_hangs_on_the_order_of_the_samples_or_the_names_of_groups(shuffler):
    p = predictions(50)
    groups = np.arange(50) // 3
    order = list(range(50))
    shuffler.shuffle(order)
    shuffled = Predictions(
        CLASS_NAMES, tuple(p.samples[i] for i in order), p.splits, p.y_true[order], p.y_score[order]
    )
    renamed = (groups * 7919 % 1009)[order]
    assert evaluate(shuffled, groups=renamed, replicates=20) == evaluate(
        p, groups=groups, replicates=20
    )


def test_groups_widen_every_kind_of_interval():
    once = predictions(150, seed=2)
    n, copies = 150, 6
    names = tuple(f"{name}#{i}" for name in once.samples for i in range(copies))
    rows = np.repeat(np.arange(n), copies)
    copied = Predictions(
        CLASS_NAMES, names, ("test",) * len(names), once.y_true[rows], once.y_score[rows]
    )
    alone, naive, grouped = evaluate(once), evaluate(copied), evaluate(copied, groups=rows)
    assert naive.n_groups is None
    assert grouped.n_groups == n
    figures = ("accuracy", "macro_f1", "kappa", "brier", "nll")
    widths = [
        [getattr(e, name).high - getattr(e, name).low for name in figures]
        for e in (alone, naive, grouped)
    ]
    assert widths[2] == pytest.approx(widths[0], rel=0.15)
    assert (np.array(widths[2]) > 2 * np.array(widths[1])).all()


def test_an_absent_class_has_no_figures_but_a_reason():
    got = evaluate(
        given_scores(
            [0, 0, 1, 1], [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]
        ),
        replicates=50,
    )
    absent = got.per_class["c"]
    assert absent.support == 0
    assert absent.sensitivity is absent.f1 is absent.auroc is absent.auprc is None
    assert absent.note == "no sample of this split is c"
    assert absent.specificity.estimate == 0.75
    # Over the two classes that are there: recalls 1/2 and 1/2; f1 1/2 and 2/3.
    assert got.balanced_accuracy.estimate == pytest.approx(0.5)
    assert got.macro_f1.estimate == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert "NaN" not in to_json(got)


def test_a_class_of_one_sample_is_judged_and_noted():
    p = given_scores(
        [0, 0, 0, 1, 1, 1, 2], [*[[0.8, 0.1, 0.1]] * 3, *[[0.2, 0.7, 0.1]] * 3, [0.2, 0.2, 0.6]]
    )
    single = evaluate(p, replicates=50).per_class["c"]
    assert single.sensitivity == wilson_interval(1, 1)
    assert single.auroc.estimate == 1
    assert single.note.startswith("only 1 sample:")
    assert "only 1 group:" in evaluate(p, groups=np.arange(7), replicates=50).per_class["c"].note


def test_only_one_class_leaves_no_kappa_and_a_constant_answer_a_mcc_of_zero():
    alone = evaluate(
        given_scores([0, 0, 0], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]), replicates=20
    )
    assert (
        alone.kappa
        is alone.mcc
        is alone.per_class["a"].specificity
        is alone.per_class["a"].auroc
        is None
    )
    assert alone.per_class["a"].note.startswith("every sample of this split is a")
    constant = evaluate(given_scores([0, 1, 2], [[0.8, 0.1, 0.1]] * 3), replicates=20)
    assert constant.mcc.estimate == constant.kappa.estimate == 0
    assert constant.per_class["b"].ppv is None
    assert constant.per_class["b"].f1.estimate == 0
    assert constant.per_class["b"].note.startswith(
        "no sample was predicted as b, so there is no ppv"
    )
    assert constant.per_class["a"].npv is None


def test_one_sample_is_enough():
    got = evaluate(given_scores([1], [[0.1, 0.8, 0.1]]), replicates=10)
    assert got.n == 1
    assert got.accuracy == wilson_interval(1, 1)
    to_json(got)


def test_temperature_changes_the_probabilities_not_the_answers():
    p = predictions()
    cold, hot = evaluate(p, replicates=20), evaluate(p, temperature=2.0, replicates=20)
    assert hot.confusion_matrix == cold.confusion_matrix
    assert hot.nll.estimate != cold.nll.estimate
    assert hot.temperature == 2.0


def test_prevalence_moves_the_predictive_values():
    got = evaluate(predictions(), prevalence={"COVID": 0.02}, replicates=2)
    covid, normal = got.per_class["COVID"], got.per_class["Normal"]
    se, sp = covid.sensitivity.estimate, covid.specificity.estimate
    assert covid.ppv_at_prevalence.estimate == pytest.approx(
        se * 0.02 / (se * 0.02 + (1 - sp) * 0.98)
    )
    assert covid.ppv_at_prevalence.high < covid.ppv.low
    assert covid.prevalence == 0.02
    assert normal.prevalence is normal.ppv_at_prevalence is None


def test_only_the_split_that_was_asked_for_counts():
    p = predictions(80)
    mixed = replace(p, splits=("val",) * 30 + ("test",) * 50)
    groups = np.where(np.arange(80) < 30, np.arange(80), 100 + np.arange(80) % 10)
    assert evaluate(mixed, "val", groups=groups, replicates=5).n_groups == 30
    assert evaluate(mixed, groups=groups, replicates=5).n_groups == 10
    assert evaluate(mixed, replicates=5).n == 50
    with pytest.raises(ConfigError, match="no predictions for the split 'train'"):
        evaluate(mixed, "train")


def test_mistakes_are_named():
    p = predictions(10)
    with pytest.raises(
        ConfigError, match="no class Covid to set a prevalence for; there are Normal, COVID"
    ):
        evaluate(p, prevalence={"Covid": 0.1})
    with pytest.raises(ConfigError, match=r"one group a sample, got \(3,\) for 10"):
        evaluate(p, groups=np.zeros(3, int))
    with pytest.raises(ConfigError, match=r"prevalence must lie between 0 and 1, got 1\.5"):
        evaluate(p, prevalence={"Normal": 1.5})


def test_the_record_goes_to_json_and_back():
    got = evaluate(
        predictions(60), groups=np.arange(60) // 2, prevalence={"COVID": 0.1}, replicates=20
    )
    text = to_json(got)
    assert from_json(Evaluation, text) == got
    plain = json.loads(text)
    assert {
        "split",
        "n",
        "accuracy",
        "macro_f1",
        "class_names",
        "confusion_matrix",
        "per_class",
        "ece",
        "brier",
    } <= set(plain)
    assert {"sensitivity", "specificity", "ppv", "npv", "f1", "auroc"} <= set(
        plain["per_class"]["Viral Pneumonia"]
    )
    assert set(plain["accuracy"]) == {"estimate", "low", "high"}


def test_a_thousand_replicates_of_the_whole_database_take_seconds():
    p = predictions(21_165)
    started = time.process_time()
    evaluate(p)
    assert time.process_time() - started < 10
