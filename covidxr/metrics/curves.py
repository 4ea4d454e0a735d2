"""Curves over all thresholds on one class's probability, against the rest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from covidxr.records import Labels, Scores

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Two (P,) arrays in [0, 1]: along x, along y."""


def roc_points(y_true: Labels, y_score: Scores, class_index: int) -> Points:
    """1 - specificity and sensitivity at every threshold, from (0, 0) to (1, 1); y_true (N,), y_score (N, C).

    Fawcett 2006, "An introduction to ROC analysis", Pattern Recognit Lett 27:861.
    """
    from sklearn.metrics import roc_curve

    false_alarms, sensitivity, _ = roc_curve(y_true == class_index, y_score[:, class_index])
    return np.asarray(false_alarms, dtype=np.float64), np.asarray(sensitivity, dtype=np.float64)


def precision_recall_points(y_true: Labels, y_score: Scores, class_index: int) -> Points:
    """Sensitivity and ppv at every threshold, from sensitivity 0 (where ppv is set to 1) up; y_true (N,), y_score (N, C).

    Davis & Goadrich 2006, "The relationship between precision-recall and ROC curves", ICML.
    """
    from sklearn.metrics import precision_recall_curve

    ppv, sensitivity, _ = precision_recall_curve(y_true == class_index, y_score[:, class_index])
    return np.asarray(sensitivity[::-1], dtype=np.float64), np.asarray(ppv[::-1], dtype=np.float64)
