"""Classification metrics of one model on one split, with 95% intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.formatting import count
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
from covidxr.metrics.weighted import (
    Array,
    confusion_metrics,
    sparse_product,
    weighted_confusion,
    weighted_ranking,
)
from covidxr.records import Interval, Labels, Predictions, Scores

FEW_SAMPLES = 10
"""Fewest samples (or groups) of a class without a note that its intervals are too narrow."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class versus the rest; None where undefined, for the reason in `note`.

    sensitivity to f1 are those of the predicted class, auroc and auprc those of the probability.
    The predictive values at a prevalence are None unless a prevalence was given.
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
    """Metrics of one model on one split.

    balanced_accuracy and macro_f1 are averages over the classes with samples; kappa and mcc are
    None where only one class has samples.
    """

    split: str
    n: int
    n_groups: int | None
    """Number of groups of dependent samples; None where samples were taken as independent."""
    class_names: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Counts; rows are true classes, columns predicted classes, in the order of class_names."""
    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    kappa: Interval | None
    mcc: Interval | None
    per_class: dict[str, ClassMetrics]
    nll: Interval
    """Mean negative log-likelihood in nats."""
    brier: Interval
    """In [0, 2]."""
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
    """Compute all metrics of a model on one split, with 95% intervals.

    Accuracy, sensitivity, specificity, PPV and NPV have the interval of `proportion_interval`,
    which keeps a width at 100%; PPV and NPV at a prevalence that of `predictive_intervals`; the
    calibration error that of `summed_gap_interval`. All others have the percentiles of a seeded
    bootstrap (`resampling_weights`) stratified by true class, which has no width at a perfect
    value. Results do not depend on the order of the samples.

    Args:
        predictions: Of one model, for any number of splits.
        split: The split to evaluate.
        temperature: Temperature for `apply_temperature`, positive.
        groups: (len(predictions),) ids shared by samples of one patient and by near-duplicates;
            None takes samples as independent.
        prevalence: By class name, prevalence in [0, 1] for additional PPV and NPV.
        replicates: Number of bootstrap replicates, 2 or more.
        seed: Of the bootstrap.

    Raises:
        ConfigError: The split or a class is unknown, groups has another length, or a value is out
            of range.
    """
    unknown = sorted(set(prevalence or {}) - set(predictions.class_names))
    if unknown:
        raise ConfigError(
            f"there is no class {', '.join(unknown)} to set a prevalence for; "
            f"the classes are {', '.join(predictions.class_names)}"
        )
    if groups is not None and groups.shape != (len(predictions),):
        raise ConfigError(
            f"expected one group per sample, got {groups.shape} for {len(predictions)} samples"
        )
    part = predictions.take(split)
    order = np.argsort(np.array(part.samples))
    y_true, y_score = part.y_true[order], apply_temperature(part.y_score[order], temperature)
    if groups is not None:
        groups = number_groups(groups[np.array([s == split for s in predictions.splits])][order])
    y_pred = y_score.argmax(axis=1)

    estimates = _weighted_metrics(y_true, y_score, np.ones((len(y_true), 1)))
    blocks = [
        _weighted_metrics(y_true, y_score, weights)
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
    # take() rejects a split without samples.
    assert accuracy is not None
    per_class = {}
    for k, name in enumerate(part.class_names):
        ranked = {
            key: bootstrapped(key, k)
            for key in ("f1", "auroc", "auprc")
            if not np.isnan(estimates[key][k, 0])
        }
        per_class[name] = _class_metrics(
            y_true, y_pred, k, groups, (prevalence or {}).get(name), ranked
        )
    classes = len(per_class)
    confusion = np.bincount(y_true * classes + y_pred, minlength=classes**2)
    return Evaluation(
        split=split,
        n=len(y_true),
        n_groups=None if groups is None else int(groups.max()) + 1,
        class_names=part.class_names,
        confusion_matrix=tuple(tuple(row) for row in confusion.reshape(classes, -1).tolist()),
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


def _class_metrics(
    y_true: Labels,
    y_pred: Labels,
    k: int,
    groups: Labels | None,
    prevalence: float | None,
    ranked: dict[str, Interval],
) -> ClassMetrics:
    """Collect the metrics of one class; `ranked` holds f1, auroc and auprc where defined."""
    positive, predicted = y_true == k, y_pred == k

    def share(hit: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Interval | None:
        return proportion_interval(hit[among], None if groups is None else groups[among])

    sensitivity, specificity = share(predicted, positive), share(~predicted, ~positive)
    at_prevalence: tuple[Interval | None, Interval | None] = (None, None)
    if prevalence is not None and sensitivity is not None and specificity is not None:
        at_prevalence = predictive_intervals(sensitivity, specificity, prevalence)
    notes = []
    independent = int(positive.sum()) if groups is None else len(np.unique(groups[positive]))
    if not positive.any():
        notes.append("no sample of this split has this class")
    elif positive.all():
        notes.append("every sample of this split has this class")
    if not predicted.any():
        notes.append("never predicted, so PPV is undefined")
    elif predicted.all():
        notes.append("always predicted, so NPV is undefined")
    if 0 < independent < FEW_SAMPLES:
        few = count(independent, "sample" if groups is None else "group")
        notes.append(f"only {few}: the intervals of F1, AUROC and AUPRC are too narrow")
    return ClassMetrics(
        support=int(positive.sum()),
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=share(positive, predicted),
        npv=share(~positive, ~predicted),
        f1=ranked.get("f1"),
        auroc=ranked.get("auroc"),
        auprc=ranked.get("auprc"),
        prevalence=prevalence,
        ppv_at_prevalence=at_prevalence[0],
        npv_at_prevalence=at_prevalence[1],
        note="; ".join(notes),
    )


def _weighted_metrics(y_true: Labels, y_score: Scores, weights: Array) -> dict[str, Array]:
    """Compute bootstrapped metrics under weights (N, B): (B,), by class (C, B), gaps (bins, B)."""
    classes = y_score.shape[1]
    terms = np.column_stack([*losses(y_true, y_score), confidence_gaps(y_true, y_score)])
    nll, brier, *gaps = sparse_product(terms.T, weights) / weights.sum(axis=0)
    confusion = weighted_confusion(y_true, y_score.argmax(axis=1), classes, weights)
    ranking = [weighted_ranking(y_true == k, y_score[:, k], weights) for k in range(classes)]
    return {
        "nll": nll,
        "brier": brier,
        "gaps": np.stack(gaps),
        "auroc": np.stack([auroc for auroc, _ in ranking]),
        "auprc": np.stack([auprc for _, auprc in ranking]),
        **confusion_metrics(confusion),
    }
