"""Metrics under sample weights, one value per bootstrap replicate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from covidxr.records import Labels

Array = npt.NDArray[np.floating]
"""float32 for blocks of replicates, float64 for estimates."""


def weighted_confusion(
    y_true: Labels, y_pred: Labels, classes: int, weights: Array
) -> npt.NDArray[np.float64]:
    """Sum weights (N, B) into confusion matrices (C, C, B), true class by predicted class."""
    cells = np.zeros((classes * classes, len(y_true)))
    cells[y_true * classes + y_pred, np.arange(len(y_true))] = 1
    return sparse_product(cells, weights).reshape(classes, classes, -1)


def sparse_product(rows: npt.NDArray[np.float64], weights: Array) -> npt.NDArray[np.float64]:
    """Multiply (R, N), mostly zeros, by sample weights (N, B)."""
    # One thread: those of a dense product and of a running training would stall each other.
    from scipy.sparse import csr_array

    return np.asarray(csr_array(rows.astype(weights.dtype)) @ weights, dtype=np.float64)


def confusion_metrics(confusion: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Compute the metrics of B confusion matrices.

    F1: van Rijsbergen 1979, ch. 7. Balanced accuracy: Brodersen et al. 2010, ICPR. Kappa: Cohen
    1960, Educ Psychol Meas 20:37. MCC for several classes: Gorodkin 2004, Comput Biol Chem 28:367,
    eq. 8.

    Args:
        confusion: (C, C, B) weights, true class by predicted class.

    Returns:
        f1 (C, B); balanced_accuracy, macro_f1, kappa and mcc (B,). Classes without samples have an
        F1 of NaN and are excluded from the averages. MCC is 0 where only one class was predicted,
        by convention. Kappa and MCC are NaN where only one class has samples.
    """
    hits = np.einsum("kkb->kb", confusion)
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    total = confusion.sum(axis=(0, 1))
    present = true > 0
    recall = np.divide(hits, true, out=np.full_like(hits, np.nan), where=present)
    f1 = np.divide(2 * hits, true + predicted, out=np.full_like(hits, np.nan), where=present)
    correct, chance = hits.sum(axis=0), (true * predicted).sum(axis=0)
    spread_true = total**2 - (true**2).sum(axis=0)
    spread_predicted = total**2 - (predicted**2).sum(axis=0)
    several = spread_true > 0
    excess = correct * total - chance
    undefined = np.where(several, 0.0, np.nan)
    return {
        "f1": f1,
        "macro_f1": np.nanmean(f1, axis=0),
        "balanced_accuracy": np.nanmean(recall, axis=0),
        "kappa": np.divide(excess, total**2 - chance, out=undefined.copy(), where=several),
        "mcc": np.divide(
            excess,
            np.sqrt(spread_true * spread_predicted),
            out=undefined,
            where=several & (spread_predicted > 0),
        ),
    }


def weighted_ranking(
    is_positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], weights: Array
) -> tuple[Array, Array]:
    """Compute AUROC and AUPRC (average precision) of one score under each column of weights.

    AUROC: Hanley & McNeil 1982, Radiology 143:29 (Mann-Whitney form; equal scores count half).
    AUPRC: Davis & Goadrich 2006, ICML, without interpolation, as in scikit-learn's
    average_precision_score (equal scores share a threshold).

    Args:
        is_positive: (N,) whether a sample is of the class.
        score: (N,), higher for the class.
        weights: (N, B). Sums use their type: float32 is exact for bootstrap counts up to 2^24.

    Returns:
        Two (B,) in [0, 1], NaN where undefined.
    """
    undefined = np.full(weights.shape[1], np.nan, dtype=weights.dtype)
    if is_positive.all() or not is_positive.any():
        return undefined, undefined
    descending = np.argsort(-score, kind="stable")
    positive, negative = descending[is_positive[descending]], descending[~is_positive[descending]]
    # Number of negatives above each positive, and at or above it; negated, as searchsorted ascends.
    threshold, others = -score[positive], -score[negative]
    above = np.searchsorted(others, threshold, "left")
    at_least = np.searchsorted(others, threshold, "right")
    fp = _running_sum(weights[negative])
    tp = _running_sum(weights[positive])
    false, false_above = fp[at_least], fp[above]
    true = tp[np.searchsorted(threshold, threshold, "right")]
    mass, positives, negatives = weights[positive], tp[-1], fp[-1]
    both, either = (positives > 0) & (negatives > 0), positives > 0
    lost = np.einsum("nb,nb->b", mass, false + false_above) / 2
    auroc = np.divide(
        positives * negatives - lost, positives * negatives, out=undefined.copy(), where=both
    )
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true > 0)
    auprc = np.divide(
        np.einsum("nb,nb->b", mass, precision), positives, out=undefined, where=either
    )
    return auroc, auprc


def _running_sum(weights: Array) -> Array:
    """Return the (M + 1, B) sums of the first 0 to M rows."""
    out = np.zeros((len(weights) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights, axis=0, out=out[1:])
    return out
