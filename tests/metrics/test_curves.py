"""ROC and precision-recall curves of four samples by hand."""

from __future__ import annotations

import numpy as np
import pytest

from covidxr.metrics.curves import precision_recall_points, roc_points
from covidxr.metrics.weighted import weighted_ranking

Y_TRUE = np.array([1, 0, 1, 0])
SCORE = np.array([0.9, 0.8, 0.6, 0.1])
Y_SCORE = np.stack([1 - SCORE, SCORE], axis=1)


def test_roc_by_hand() -> None:
    false_positives, sensitivity = roc_points(Y_TRUE, Y_SCORE, 1)
    assert list(zip(false_positives.tolist(), sensitivity.tolist(), strict=True)) == [
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
        (1, 1),
    ]


def test_precision_recall_by_hand() -> None:
    sensitivity, ppv = precision_recall_points(Y_TRUE, Y_SCORE, 1)
    assert sensitivity.tolist() == [0, 0.5, 0.5, 1, 1]
    assert ppv.tolist() == pytest.approx([1, 1, 1 / 2, 2 / 3, 1 / 2])


def test_the_area_under_the_curve_is_the_auroc() -> None:
    random = np.random.default_rng(0)
    y_true, scores = random.integers(0, 3, 200), random.dirichlet(np.ones(3), 200).round(2)
    x, y = roc_points(y_true, scores, 2)
    area = float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())
    assert area == pytest.approx(
        float(weighted_ranking(y_true == 2, scores[:, 2], np.ones((200, 1)))[0][0])
    )
