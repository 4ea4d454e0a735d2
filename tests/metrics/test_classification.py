"""Evaluation of a model against scikit-learn and hand-worked values."""

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
from covidxr.metrics.calibration import confidence_gaps, losses
from covidxr.metrics.classification import Evaluation, evaluate
from covidxr.metrics.intervals import wilson_interval
from covidxr.records import CLASS_NAMES, Predictions
from covidxr.storage import from_json, to_json
from tests.narrowing import known


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
    assert known(got.kappa).estimate == pytest.approx(reference.cohen_kappa_score(y_true, y_pred))
    assert known(got.mcc).estimate == pytest.approx(reference.matthews_corrcoef(y_true, y_pred))
    assert got.nll.estimate == pytest.approx(reference.log_loss(y_true, p.y_score))
    assert got.brier.estimate == pytest.approx(losses(y_true, p.y_score)[1].mean())
    gaps = confidence_gaps(y_true, p.y_score).mean(axis=0)
    assert got.ece.estimate == pytest.approx(np.abs(gaps).sum())
    for k, name in enumerate(CLASS_NAMES):
        of_class = got.per_class[name]
        assert of_class.support == (y_true == k).sum()
        assert known(of_class.sensitivity).estimate == pytest.approx(
            reference.recall_score(y_true == k, y_pred == k)
        )
        assert known(of_class.specificity).estimate == pytest.approx(
            reference.recall_score(y_true != k, y_pred != k)
        )
        assert known(of_class.ppv).estimate == pytest.approx(
            reference.precision_score(y_true == k, y_pred == k)
        )
        assert known(of_class.npv).estimate == pytest.approx(
            reference.precision_score(y_true != k, y_pred != k)
        )
        assert known(of_class.f1).estimate == pytest.approx(
            reference.f1_score(y_true == k, y_pred == k)
        )
        assert known(of_class.auroc).estimate == pytest.approx(
            reference.roc_auc_score(one_hot[:, k], p.y_score[:, k])
        )
        assert known(of_class.auprc).estimate == pytest.approx(
            reference.average_precision_score(one_hot[:, k], p.y_score[:, k])
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
        nll, brier = losses(y_true, y_score)
        loop.append((*one, brier.mean(), nll.mean()))
    low, high = np.quantile(loop, [0.025, 0.975], axis=0)
    got = evaluate(p)
    for i, interval in enumerate(
        (got.macro_f1, got.per_class["Viral Pneumonia"].auroc, got.brier, got.nll)
    ):
        assert (known(interval).low, known(interval).high) == pytest.approx(
            (low[i], high[i]), abs=0.25 * (high[i] - low[i])
        )


def test_proportions_have_wilsons_interval():
    p = predictions()
    got = evaluate(p, replicates=2)
    assert got.accuracy == wilson_interval(int((p.y_pred == p.y_true).sum()), len(p))
    hits = p.y_true[p.y_pred == 1] == 1
    assert got.per_class["COVID"].ppv == wilson_interval(int(hits.sum()), len(hits))


@pytest.mark.parametrize("n", [8, 60])
@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_contain_their_estimates_and_stay_in_bounds(n, grouped):
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
def test_results_are_independent_of_sample_order_and_group_ids(shuffler):
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


def test_groups_widen_every_type_of_interval():
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
    metrics = ("accuracy", "macro_f1", "kappa", "brier", "nll")
    widths = [
        [getattr(e, name).high - getattr(e, name).low for name in metrics]
        for e in (alone, naive, grouped)
    ]
    assert widths[2] == pytest.approx(widths[0], rel=0.15)
    assert (np.array(widths[2]) > 2 * np.array(widths[1])).all()


def test_an_absent_class_has_a_note_instead_of_metrics():
    got = evaluate(
        given_scores(
            [0, 0, 1, 1], [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]
        ),
        replicates=50,
    )
    absent = got.per_class["c"]
    assert absent.support == 0
    assert absent.sensitivity is absent.f1 is absent.auroc is absent.auprc is None
    assert absent.note == "no sample of this split has this class"
    assert known(absent.specificity).estimate == 0.75
    # Over the two classes present: recalls 1/2 and 1/2; f1 1/2 and 2/3.
    assert got.balanced_accuracy.estimate == pytest.approx(0.5)
    assert got.macro_f1.estimate == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert "NaN" not in to_json(got)


def test_a_class_of_one_sample_has_metrics_and_a_note():
    p = given_scores(
        [0, 0, 0, 1, 1, 1, 2], [*[[0.8, 0.1, 0.1]] * 3, *[[0.2, 0.7, 0.1]] * 3, [0.2, 0.2, 0.6]]
    )
    single = evaluate(p, replicates=50).per_class["c"]
    assert single.sensitivity == wilson_interval(1, 1)
    assert known(single.auroc).estimate == 1
    assert single.note.startswith("only 1 sample:")
    assert "only 1 group:" in evaluate(p, groups=np.arange(7), replicates=50).per_class["c"].note


def test_kappa_is_undefined_for_one_class_and_mcc_zero_for_a_constant_prediction():
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
    assert alone.per_class["a"].note.startswith("every sample of this split has this class")
    constant = evaluate(given_scores([0, 1, 2], [[0.8, 0.1, 0.1]] * 3), replicates=20)
    assert known(constant.mcc).estimate == known(constant.kappa).estimate == 0
    assert constant.per_class["b"].ppv is None
    assert known(constant.per_class["b"].f1).estimate == 0
    assert constant.per_class["b"].note.startswith("never predicted, so PPV is undefined")
    assert constant.per_class["a"].note.startswith("always predicted, so NPV is undefined")
    assert constant.per_class["a"].npv is None


def test_one_sample_is_enough():
    got = evaluate(given_scores([1], [[0.1, 0.8, 0.1]]), replicates=10)
    assert got.n == 1
    assert got.accuracy == wilson_interval(1, 1)
    to_json(got)


def test_temperature_changes_probabilities_but_not_predicted_classes():
    p = predictions()
    cold, hot = evaluate(p, replicates=20), evaluate(p, temperature=2.0, replicates=20)
    assert hot.confusion_matrix == cold.confusion_matrix
    assert hot.nll.estimate != cold.nll.estimate
    assert hot.temperature == 2.0


def test_prevalence_changes_the_predictive_values():
    got = evaluate(predictions(), prevalence={"COVID": 0.02}, replicates=2)
    covid, normal = got.per_class["COVID"], got.per_class["Normal"]
    se, sp = known(covid.sensitivity).estimate, known(covid.specificity).estimate
    ppv = known(covid.ppv_at_prevalence)
    assert ppv.estimate == pytest.approx(se * 0.02 / (se * 0.02 + (1 - sp) * 0.98))
    assert ppv.high < known(covid.ppv).low
    assert covid.prevalence == 0.02
    assert normal.prevalence is None
    assert normal.ppv_at_prevalence is None


def test_only_the_requested_split_is_evaluated():
    p = predictions(80)
    mixed = replace(p, splits=("val",) * 30 + ("test",) * 50)
    groups = np.where(np.arange(80) < 30, np.arange(80), 100 + np.arange(80) % 10)
    assert evaluate(mixed, "val", groups=groups, replicates=5).n_groups == 30
    assert evaluate(mixed, groups=groups, replicates=5).n_groups == 10
    assert evaluate(mixed, replicates=5).n == 50
    with pytest.raises(ConfigError, match="train"):
        evaluate(mixed, "train")


def test_invalid_arguments_are_named():
    p = predictions(10)
    with pytest.raises(ConfigError, match=r"no class Covid to set .*; the classes are Normal"):
        evaluate(p, prevalence={"Covid": 0.1})
    with pytest.raises(ConfigError, match=r"one group per sample, got \(3,\) for 10"):
        evaluate(p, groups=np.zeros(3, int))
    with pytest.raises(ConfigError, match=r"prevalence must lie between 0 and 1, got 1\.5"):
        evaluate(p, prevalence={"Normal": 1.5})


def test_an_evaluation_survives_json():
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
