"""Paired comparison of models on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.formatting import count, p_value
from covidxr.metrics.intervals import number_groups, percentile_interval, resampling_weights
from covidxr.metrics.paired_tests import (
    AurocDifference,
    bootstrap_p,
    delong_test,
    holm,
    mcnemar_mid_p,
)
from covidxr.metrics.weighted import confusion_metrics, weighted_confusion
from covidxr.records import Interval, Labels, Predictions, Scores

ALPHA = 0.05
"""Corrected p values below this are significant."""


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two models on the same samples; differences are a minus b, positive where a is better."""

    a: str
    b: str
    # Numbers of samples; the four add up to n.
    both_right: int
    a_right_b_wrong: int
    a_wrong_b_right: int
    both_wrong: int
    accuracy_difference: Interval
    macro_f1_difference: Interval
    mcnemar_p: float
    p_holm: float
    """mcnemar_p, corrected over all pairs of the comparison."""
    macro_f1_p: float
    macro_f1_p_holm: float
    """Corrected over all pairs of the comparison."""
    auroc: dict[str, AurocDifference]
    """By class, where defined; each p_holm is corrected over all pairs and classes."""

    @property
    def real(self) -> bool:
        """Whether accuracy differs significantly: by the test and by the (clustered) interval."""
        away = self.accuracy_difference.low > 0 or self.accuracy_difference.high < 0
        return self.p_holm < ALPHA and away

    @property
    def sentence(self) -> str:
        """Summary: which model makes fewer errors, and whether the difference is significant."""
        fewer = self.a_right_b_wrong - self.a_wrong_b_right
        p = p_value(self.p_holm)
        if fewer == 0:
            return f"{self.a} and {self.b} make the same number of errors ({p})"
        better, worse = (self.a, self.b) if fewer > 0 else (self.b, self.a)
        errors = count(abs(fewer), "fewer error")
        significance = "significant" if self.real else "not significant"
        return f"{better} makes {errors} than {worse} ({significance}, {p})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pairwise comparison of models on one split."""

    models: tuple[str, ...]
    split: str
    n: int
    n_groups: int | None
    """Number of groups of dependent samples; None where samples were taken as independent."""
    intersected: bool
    dropped: dict[str, int]
    """By model, number of samples excluded because another model lacks them."""
    class_names: tuple[str, ...]
    pairs: tuple[PairComparison, ...]
    replicates: int
    seed: int
    notes: tuple[str, ...]


def compare(
    entries: Sequence[tuple[str, Predictions]],
    intersect: bool = False,
    *,
    split: str = "test",
    groups: Labels | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare every pair of models on the same samples of one split.

    Errors are compared by McNemar's mid-p (`mcnemar_mid_p`), each one-vs-rest AUROC by DeLong's
    test (`delong_test`), macro-F1 by `bootstrap_p`, all corrected by Holm. The intervals of the
    differences in accuracy and macro-F1 are percentiles of a paired bootstrap
    (`resampling_weights`: stratified by true class, groups drawn whole).

    Args:
        entries: Two or more (model_id, Predictions).
        intersect: Compare on the samples shared by all models, instead of rejecting others.
        split: The split to compare on.
        groups: Ids as in `evaluate` for the samples of the first entry (all splits, in its order).
            p values still take samples as independent, which a note then says.
        replicates: Number of bootstrap replicates, 2 or more.
        seed: Of the bootstrap.

    Returns:
        The comparison of every pair, with notes on what limits it.

    Raises:
        ConfigError: Class names, true labels or (unless `intersect`) samples differ.
    """
    names = [name for name, _ in entries]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"a comparison needs two or more different models, got {', '.join(names) or 'none'}"
        )
    first = entries[0][1]
    if groups is not None and groups.shape != (len(first),):
        raise ConfigError(
            f"expected one group per sample of {names[0]} ({len(first)}), got {groups.shape}"
        )
    parts = [predictions.take(split) for _, predictions in entries]
    samples = _shared_samples(names, parts, split, intersect)
    aligned = [_align(part, samples) for part in parts]
    y_true = aligned[0][0]
    for name, (labels, _) in zip(names[1:], aligned[1:], strict=True):
        if (differing := int((labels != y_true).sum())) > 0:
            raise ConfigError(
                f"the true classes of {differing} of {len(samples)} {split} samples differ between "
                f"{names[0]} and {name}; repeat the predictions of both on the same dataset"
            )
    if groups is not None:
        place = {sample: i for i, sample in enumerate(first.samples)}
        groups = number_groups(groups[[place[s] for s in samples]])
    pairs = _pairs(
        names,
        y_true,
        [score for _, score in aligned],
        parts[0].class_names,
        groups,
        replicates,
        seed,
    )
    n_groups = None if groups is None else int(groups.max()) + 1
    notes = []
    if any(len(part) > len(samples) for part in parts):
        notes.append(
            f"compared on the {len(samples):,} {split} samples shared by all {len(names)} models"
        )
    if n_groups is not None and n_groups < len(samples):
        notes.append(
            f"p values assume {len(samples):,} independent samples; "
            f"confidence intervals are clustered ({n_groups:,} groups)"
        )
    return Comparison(
        models=tuple(names),
        split=split,
        n=len(samples),
        n_groups=n_groups,
        intersected=intersect,
        dropped={name: len(part) - len(samples) for name, part in zip(names, parts, strict=True)},
        class_names=parts[0].class_names,
        pairs=pairs,
        replicates=replicates,
        seed=seed,
        notes=tuple(notes),
    )


def _shared_samples(
    names: list[str], parts: list[Predictions], split: str, intersect: bool
) -> list[str]:
    """Return the samples to compare on, sorted so that draws are independent of the file order."""
    a = parts[0]
    shared = set(a.samples)
    for name, part in zip(names[1:], parts[1:], strict=True):
        if part.class_names != a.class_names:
            raise ConfigError(
                f"{names[0]} and {name} cannot be compared: their classes must be the same in the "
                f"same order, but are {', '.join(a.class_names)} and {', '.join(part.class_names)}"
            )
        both = len(set(a.samples) & set(part.samples))
        if not intersect and not both == len(a) == len(part):
            raise ConfigError(
                f"{names[0]} and {name} were not evaluated on the same {split} samples: {len(a)} "
                f"and {len(part)}, {both} of them shared; choose models of the same split, or "
                "compare on the shared samples"
            )
        shared &= set(part.samples)
        if not shared:
            raise ConfigError(
                f"no {split} sample is shared by all models: {names[0]} ({len(a)}) and {name} "
                f"({len(part)}) share {both}"
            )
    return sorted(shared)


def _align(part: Predictions, samples: list[str]) -> tuple[Labels, Scores]:
    """Return labels (n,) and probabilities (n, C) of the named samples, in their order."""
    place = {sample: i for i, sample in enumerate(part.samples)}
    rows = np.array([place[s] for s in samples])
    return part.y_true[rows], part.y_score[rows]


def _pairs(
    names: list[str],
    y_true: Labels,
    y_scores: list[Scores],
    class_names: tuple[str, ...],
    groups: Labels | None,
    replicates: int,
    seed: int,
) -> tuple[PairComparison, ...]:
    y_preds = [score.argmax(axis=1) for score in y_scores]
    ones = np.ones((len(y_true), 1))
    estimates = [_accuracy_and_f1(y_true, y_pred, len(class_names), ones) for y_pred in y_preds]
    blocks = [
        [_accuracy_and_f1(y_true, y_pred, len(class_names), weights) for y_pred in y_preds]
        for weights in resampling_weights(y_true, replicates, seed, groups)
    ]
    draws = [np.concatenate([block[i] for block in blocks], axis=1) for i in range(len(names))]

    index = list(combinations(range(len(names)), 2))
    hits = [y_pred == y_true for y_pred in y_preds]
    mcnemar = [
        mcnemar_mid_p(int((hits[i] & ~hits[j]).sum()), int((~hits[i] & hits[j]).sum()))
        for i, j in index
    ]
    tests = [
        {
            name: delong_test(y_true == k, y_scores[i][:, k], y_scores[j][:, k])
            for k, name in enumerate(class_names)
            if 0 < (y_true == k).mean() < 1
        }
        for i, j in index
    ]
    corrected = iter(
        holm([test.p for by_class in tests for test in by_class.values() if test.p is not None])
    )
    macro_f1 = [bootstrap_p(draws[i][1] - draws[j][1]) for i, j in index]
    macro_f1_holm = iter(holm(macro_f1))
    pairs = []
    for (i, j), p, p_holm, p_macro, by_class in zip(
        index, mcnemar, holm(mcnemar), macro_f1, tests, strict=True
    ):
        change, change_draws = (estimates[i] - estimates[j])[:, 0], draws[i] - draws[j]
        pairs.append(
            PairComparison(
                a=names[i],
                b=names[j],
                both_right=int((hits[i] & hits[j]).sum()),
                a_right_b_wrong=int((hits[i] & ~hits[j]).sum()),
                a_wrong_b_right=int((~hits[i] & hits[j]).sum()),
                both_wrong=int((~hits[i] & ~hits[j]).sum()),
                accuracy_difference=percentile_interval(float(change[0]), change_draws[0]),
                macro_f1_difference=percentile_interval(float(change[1]), change_draws[1]),
                mcnemar_p=p,
                p_holm=p_holm,
                macro_f1_p=p_macro,
                macro_f1_p_holm=next(macro_f1_holm),
                auroc={
                    name: test if test.p is None else replace(test, p_holm=next(corrected))
                    for name, test in by_class.items()
                },
            )
        )
    return tuple(pairs)


def _accuracy_and_f1(
    y_true: Labels, y_pred: Labels, classes: int, weights: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Return accuracy and macro-F1, (2, B), under each column of weights (N, B)."""
    confusion = weighted_confusion(y_true, y_pred, classes, weights)
    accuracy = np.einsum("kkb->b", confusion) / confusion.sum(axis=(0, 1))
    return np.stack([accuracy, confusion_metrics(confusion)["macro_f1"]])
