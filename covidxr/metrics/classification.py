"""The figures of one model on one split, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.metrics.calibration import (
    apply_temperature,
    confidence_gaps,
    losses,
    predictive_intervals,
)
from covidxr.metrics.intervals import (
    number_groups,
    percentile_interval,
    proportion_interval,
    resampling_weights,
    summed_gap_interval,
)
from covidxr.records import Interval, Labels, Predictions, Scores

FEW_SAMPLES = 10
"""Below this many samples of a class (or groups of them) its bootstrap intervals are said to be too narrow."""

Array = npt.NDArray[np.floating]
"""float32 for blocks of replicates, float64 for estimates."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class against the rest: sensitivity to npv and f1 from the predicted class, auroc and auprc from its probability.

    A figure is None where it is not defined; `note` then says why. The figures at a prevalence are None unless one was given.
    """

    support: int
    sensitivity: Interval | None
    specificity: Interval | None
    ppv: Interval | None
    npv: Interval | None
    f1: Interval | None
    auroc: Interval | None
    auprc: Interval | None
    prevalence: float | None = None
    ppv_at_prevalence: Interval | None = None
    npv_at_prevalence: Interval | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a model does on one split. kappa and mcc are None where only one class has samples.

    confusion_matrix: rows are the true classes, columns the predicted, in the order of class_names.
    balanced_accuracy and macro_f1 average over the classes that have samples. brier lies in [0, 2], nll is in nats.
    n_groups: groups of samples that are not independent, None when every sample was taken as independent.
    """

    split: str
    n: int
    n_groups: int | None
    class_names: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    kappa: Interval | None
    mcc: Interval | None
    per_class: dict[str, ClassFigures]
    nll: Interval
    brier: Interval
    ece: Interval
    temperature: float
    replicates: int
    seed: int


def evaluate(
    predictions: Predictions,
    split: str = "test",
    *,
    temperature: float = 1.0,
    groups: Labels | None = None,
    prevalence: Mapping[str, float] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Return every figure of a model on one split of its predictions.

    temperature: the probabilities are divided by it first (`apply_temperature`).
    groups: (len(predictions),) ids that samples of one patient, or near-duplicates, share; None takes samples as independent.
    prevalence: share of patients with the class, by class name, at which ppv and npv are worked out as well.

    Intervals: accuracy, sensitivity, specificity, ppv and npv have Wilson's, with groups at the effective sample size of
    `proportion_interval` (not the bootstrap's, which has no width at 100 %); ppv and npv at a prevalence follow from them
    (`predictive_intervals`); ece has that of `summed_gap_interval`; all others the percentiles of a seeded bootstrap stratified by
    true class that draws groups where given (`resampling_weights`). None of them depends on the order of the samples.
    The bootstrap has no width at a perfect figure. Raises ConfigError for an unknown split or class or groups of another length.
    """
    unknown = sorted(set(prevalence or {}) - set(predictions.class_names))
    if unknown:
        raise ConfigError(
            f"no class {', '.join(unknown)} to set a prevalence for; there are {', '.join(predictions.class_names)}"
        )
    if groups is not None and groups.shape != (len(predictions),):
        raise ConfigError(
            f"expected one group a sample, got {groups.shape} for {len(predictions)} samples"
        )
    part = predictions.take(split)
    order = np.argsort(np.array(part.samples))
    y_true, y_score = part.y_true[order], apply_temperature(part.y_score[order], temperature)
    if groups is not None:
        groups = number_groups(groups[np.array([s == split for s in predictions.splits])][order])
    y_pred = y_score.argmax(axis=1)

    estimates = _figures(y_true, y_score, np.ones((len(y_true), 1)))
    blocks = [
        _figures(y_true, y_score, weights)
        for weights in resampling_weights(y_true, replicates, seed, groups)
    ]
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in estimates}

    def bootstrapped(name: str, row: int | None = None) -> Interval:
        at = slice(None) if row is None else row
        return percentile_interval(
            float(np.ravel(estimates[name][at])[0]), np.ravel(draws[name][at])
        )

    several = len(np.unique(y_true)) > 1
    accuracy = proportion_interval(y_pred == y_true, groups)
    assert accuracy is not None  # take() refuses a split without samples
    per_class = {}
    for k, name in enumerate(part.class_names):
        ranked = {
            key: bootstrapped(key, k)
            for key in ("f1", "auroc", "auprc")
            if not np.isnan(estimates[key][k, 0])
        }
        per_class[name] = _class_figures(
            y_true, y_pred, k, name, groups, (prevalence or {}).get(name), ranked
        )
    confusion = np.bincount(
        y_true * len(per_class) + y_pred, minlength=len(per_class) ** 2
    ).reshape(len(per_class), -1)
    return Evaluation(
        split=split,
        n=len(y_true),
        n_groups=None if groups is None else int(groups.max()) + 1,
        class_names=part.class_names,
        confusion_matrix=tuple(tuple(row) for row in confusion.tolist()),
        accuracy=accuracy,
        balanced_accuracy=bootstrapped("balanced_accuracy"),
        macro_f1=bootstrapped("macro_f1"),
        kappa=bootstrapped("kappa") if several else None,
        mcc=bootstrapped("mcc") if several else None,
        per_class=per_class,
        nll=bootstrapped("nll"),
        brier=bootstrapped("brier"),
        ece=summed_gap_interval(estimates["gaps"][:, 0], draws["gaps"]),
        temperature=temperature,
        replicates=replicates,
        seed=seed,
    )


def _class_figures(
    y_true: Labels,
    y_pred: Labels,
    k: int,
    name: str,
    groups: Labels | None,
    prevalence: float | None,
    ranked: dict[str, Interval],
) -> ClassFigures:
    """Put together one class; `ranked` holds those of f1, auroc and auprc that are defined."""
    truth, called = y_true == k, y_pred == k

    def share(hit: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Interval | None:
        return proportion_interval(hit[among], None if groups is None else groups[among])

    sensitivity, specificity = share(called, truth), share(~called, ~truth)
    at_prevalence: tuple[Interval | None, Interval | None] = (None, None)
    if prevalence is not None and sensitivity is not None and specificity is not None:
        at_prevalence = predictive_intervals(sensitivity, specificity, prevalence)
    notes = []
    independent = int(truth.sum()) if groups is None else len(np.unique(groups[truth]))
    if not truth.any():
        notes.append(f"no sample of this split is {name}")
    elif truth.all():
        notes.append(f"every sample of this split is {name}")
    if not called.any():
        notes.append(f"no sample was predicted as {name}, so there is no ppv")
    elif called.all():
        notes.append(f"every sample was predicted as {name}, so there is no npv")
    if 0 < independent < FEW_SAMPLES:
        unit = "sample" if groups is None else "group"
        notes.append(
            f"only {independent} {unit}{'s' * (independent > 1)}: the intervals of f1, auroc and auprc are too narrow"
        )
    return ClassFigures(
        support=int(truth.sum()),
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=share(truth, called),
        npv=share(~truth, ~called),
        f1=ranked.get("f1"),
        auroc=ranked.get("auroc"),
        auprc=ranked.get("auprc"),
        prevalence=prevalence,
        ppv_at_prevalence=at_prevalence[0],
        npv_at_prevalence=at_prevalence[1],
        note="; ".join(notes),
    )


def _figures(y_true: Labels, y_score: Scores, weights: Array) -> dict[str, Array]:
    """Every bootstrapped figure under each column of sample weights (N, B): (B,), (C, B) by class, (bins, B) for the gaps."""
    classes = y_score.shape[1]
    terms = np.column_stack([*losses(y_true, y_score), confidence_gaps(y_true, y_score)])
    nll, brier, *gaps = _sparse_product(terms.T, weights) / weights.sum(axis=0)
    confusion = weighted_confusion(y_true, y_score.argmax(axis=1), classes, weights)
    ranking = [weighted_ranking(y_true == k, y_score[:, k], weights) for k in range(classes)]
    return {
        "nll": nll,
        "brier": brier,
        "gaps": np.stack(gaps),
        "auroc": np.stack([auroc for auroc, _ in ranking]),
        "auprc": np.stack([auprc for _, auprc in ranking]),
        **confusion_figures(confusion),
    }


def weighted_confusion(
    y_true: Labels, y_pred: Labels, classes: int, weights: Array
) -> npt.NDArray[np.float64]:
    """(C, C, B) sum of the weights (N, B) in each cell, true class by predicted class."""
    cells = np.zeros((classes * classes, len(y_true)))
    cells[y_true * classes + y_pred, np.arange(len(y_true))] = 1
    return _sparse_product(cells, weights).reshape(classes, classes, -1)


def _sparse_product(rows: npt.NDArray[np.float64], weights: Array) -> npt.NDArray[np.float64]:
    """(R, N) mostly zeros times (N, B). On one thread: threads of a dense product stall each other beside a running training."""
    from scipy.sparse import csr_array

    return np.asarray(csr_array(rows.astype(weights.dtype)) @ weights, dtype=np.float64)


def confusion_figures(confusion: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Figures of B confusion matrices (C, C, B): f1 (C, B), and balanced_accuracy, macro_f1, kappa, mcc (B,).

    Classes without a sample have an f1 of NaN and are left out of the averages. mcc is 0 where only one class was predicted, as
    is the convention; kappa and mcc are NaN where only one class has samples.
    f1: van Rijsbergen 1979, ch. 7; balanced accuracy: Brodersen et al. 2010, ICPR; kappa: Cohen 1960, Educ Psychol Meas 20:37;
    mcc for several classes: Gorodkin 2004, Comput Biol Chem 28:367, eq. 8.
    """
    hits = np.einsum("kkb->kb", confusion)
    true, predicted, total = (
        confusion.sum(axis=1),
        confusion.sum(axis=0),
        confusion.sum(axis=(0, 1)),
    )
    present = true > 0
    recall = np.divide(hits, true, out=np.full_like(hits, np.nan), where=present)
    f1 = np.divide(2 * hits, true + predicted, out=np.full_like(hits, np.nan), where=present)
    right, chance = hits.sum(axis=0), (true * predicted).sum(axis=0)
    spread_true, spread_predicted = (
        total**2 - (true**2).sum(axis=0),
        total**2 - (predicted**2).sum(axis=0),
    )
    several = spread_true > 0
    excess = right * total - chance
    nothing = np.where(several, 0.0, np.nan)
    return {
        "f1": f1,
        "macro_f1": np.nanmean(f1, axis=0),
        "balanced_accuracy": np.nanmean(recall, axis=0),
        "kappa": np.divide(excess, total**2 - chance, out=nothing.copy(), where=several),
        "mcc": np.divide(
            excess,
            np.sqrt(spread_true * spread_predicted),
            out=nothing,
            where=several & (spread_predicted > 0),
        ),
    }


def weighted_ranking(
    truth: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], weights: Array
) -> tuple[Array, Array]:
    """AUROC and AUPRC (average precision) of one score under each column of weights (N, B): two (B,), NaN where not defined.

    truth: (N,) whether a sample is of the class.  score: (N,).  Equal scores count half in the AUROC and stand at one threshold in
    the AUPRC. Sums run in the weights' own type: float32 holds the counts of a bootstrap exactly up to 2^24 samples.
    AUROC: Hanley & McNeil 1982, Radiology 143:29 (Mann-Whitney form); AUPRC: Davis & Goadrich 2006, ICML, in the form of
    scikit-learn's average_precision_score, without interpolation.
    """
    undefined = np.full(weights.shape[1], np.nan, dtype=weights.dtype)
    if truth.all() or not truth.any():
        return undefined, undefined
    falling = np.argsort(-score, kind="stable")
    positive, negative = falling[truth[falling]], falling[~truth[falling]]
    # searchsorted needs rising values: how many negatives lie above each positive, and how many at or above it.
    threshold, rivals = -score[positive], -score[negative]
    above, at_least = (
        np.searchsorted(rivals, threshold, "left"),
        np.searchsorted(rivals, threshold, "right"),
    )
    fp = _running_sum(weights[negative])
    tp = _running_sum(weights[positive])
    beaten, false = fp[at_least], fp[above]
    true = tp[np.searchsorted(threshold, threshold, "right")]
    mass, positives, negatives = weights[positive], tp[-1], fp[-1]
    both, either = (positives > 0) & (negatives > 0), positives > 0
    lost = np.einsum("nb,nb->b", mass, beaten + false) / 2
    auroc = np.divide(
        positives * negatives - lost, positives * negatives, out=undefined.copy(), where=both
    )
    precision = np.divide(true, true + beaten, out=np.zeros_like(true), where=true > 0)
    auprc = np.divide(
        np.einsum("nb,nb->b", mass, precision), positives, out=undefined, where=either
    )
    return auroc, auprc


def _running_sum(weights: Array) -> Array:
    """(M + 1, B) sum of the first m rows, from 0 rows on."""
    out = np.zeros((len(weights) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights, axis=0, out=out[1:])
    return out
