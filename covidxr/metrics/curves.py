"""ROC and precision-recall curves of one class versus the rest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from covidxr.records import Labels, Scores

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""x and y of a curve, two (P,) arrays in [0, 1]."""


def roc_points(y_true: Labels, y_score: Scores, class_index: int) -> Points:
    """Compute 1 - specificity and sensitivity at every threshold, from (0, 0) to (1, 1).

    Fawcett 2006, "An introduction to ROC analysis", Pattern Recognit Lett 27:861.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities.
        class_index: In [0, C).
    """
    from sklearn.metrics import roc_curve

    false_positives, sensitivity, _ = roc_curve(y_true == class_index, y_score[:, class_index])
    return np.asarray(false_positives, dtype=np.float64), np.asarray(sensitivity, dtype=np.float64)


def precision_recall_points(y_true: Labels, y_score: Scores, class_index: int) -> Points:
    """Compute sensitivity and PPV at every threshold, from sensitivity 0 (PPV set to 1) up.

    Davis & Goadrich 2006, "The relationship between precision-recall and ROC curves", ICML.

    Args:
        y_true: (N,) class indices.
        y_score: (N, C) probabilities.
        class_index: In [0, C).
    """
    from sklearn.metrics import precision_recall_curve

    ppv, sensitivity, _ = precision_recall_curve(y_true == class_index, y_score[:, class_index])
    return np.asarray(sensitivity[::-1], dtype=np.float64), np.asarray(ppv[::-1], dtype=np.float64)
