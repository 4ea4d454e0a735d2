"""Metrics under sample weights against scikit-learn and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from covidxr.metrics.intervals import resampling_weights
from covidxr.metrics.weighted import confusion_metrics, weighted_confusion, weighted_ranking


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 12))
def test_weighted_ranking_agrees_with_scikit_learn_under_ties(seed, n, distinct):
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    positive[:2] = True, False
    score = random.integers(0, distinct, n) / distinct
    weights = random.integers(0, 4, (n, 3)).astype(np.float32)
    weights[:2] += 1
    auroc, auprc = weighted_ranking(positive, score, weights)
    for b in range(3):
        assert auroc[b] == pytest.approx(
            reference.roc_auc_score(positive, score, sample_weight=weights[:, b]), abs=1e-6
        )
        assert auprc[b] == pytest.approx(
            reference.average_precision_score(positive, score, sample_weight=weights[:, b]),
            abs=1e-6,
        )


def test_ranking_is_undefined_without_positives_or_negatives():
    score, weights = np.array([0.1, 0.2]), np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    assert np.isnan(weighted_ranking(np.array([True, True]), score, weights)).all()
    auroc, auprc = weighted_ranking(np.array([True, False]), score, weights)
    assert np.array_equal(auroc, [0.0, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(auprc, [0.5, np.nan, 1.0], equal_nan=True)


def test_float32_blocks_are_as_exact_as_float64():
    random = np.random.default_rng(0)
    y_true = random.integers(0, 2, 5000)
    score = random.normal(size=5000) + y_true
    block = next(resampling_weights(y_true, 20))
    exact = weighted_ranking(y_true == 1, score, block.astype(np.float64))
    assert np.allclose(weighted_ranking(y_true == 1, score, block), exact, atol=1e-5)


def test_kappa_and_mcc_by_hand():
    # Two raters, 20 + 15 agreements of 50: observed 0.7, expected 0.5, kappa 0.4;
    # MCC (20*15 - 5*10) / sqrt(30*25*25*20).
    metrics = confusion_metrics(np.array([[20.0, 5], [10, 15]])[:, :, None])
    assert metrics["kappa"][0] == pytest.approx(0.4)
    assert metrics["mcc"][0] == pytest.approx(250 / np.sqrt(30 * 25 * 25 * 20))


def test_replicates_are_the_metrics_of_the_drawn_samples():
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 4, 120), random.integers(0, 4, 120)
    predicted = np.where(random.random(120) < 0.6, labels, predicted)
    block = next(resampling_weights(labels, 8, seed=1))
    metrics = confusion_metrics(weighted_confusion(labels, predicted, 4, block))
    for b in range(8):
        rows = np.repeat(np.arange(120), block[:, b].astype(int))
        y_true, y_pred = labels[rows], predicted[rows]
        assert metrics["macro_f1"][b] == pytest.approx(
            reference.f1_score(y_true, y_pred, average="macro")
        )
        assert metrics["kappa"][b] == pytest.approx(reference.cohen_kappa_score(y_true, y_pred))
        assert metrics["mcc"][b] == pytest.approx(reference.matthews_corrcoef(y_true, y_pred))
        assert metrics["balanced_accuracy"][b] == pytest.approx(
            reference.balanced_accuracy_score(y_true, y_pred)
        )
