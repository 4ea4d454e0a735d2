"""Paired tests between models that judged the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.formatting import p_value
from covidxr.metrics.classification import confusion_figures, weighted_confusion
from covidxr.metrics.intervals import Z, number_groups, percentile_interval, resampling_weights
from covidxr.records import Interval, Labels, Predictions, Scores

ALPHA = 0.05
"""Corrected p values below this are called real differences."""
Truth = npt.NDArray[np.bool_]
"""(N,) whether each sample is of the class."""
Column = npt.NDArray[np.float64]
"""(N,) one figure a sample."""


@dataclass(frozen=True, slots=True)
class AurocDifference:
    """The one-vs-rest AUROC of one class under two models; difference is a minus b. Where there is no p, `note` says why."""

    auroc_a: float
    auroc_b: float
    difference: Interval
    p: float | None
    p_holm: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two models on the same samples; every difference is a minus b, above 0 where a is better.

    both_right to both_wrong count samples and add up to n. p_holm and macro_f1_p_holm are mcnemar_p and macro_f1_p corrected over
    all pairs of the comparison; the p_holm of an AUROC is corrected over all pairs and classes. auroc holds the classes that have
    one.
    """

    a: str
    b: str
    both_right: int
    a_right_b_wrong: int
    a_wrong_b_right: int
    both_wrong: int
    accuracy_difference: Interval
    macro_f1_difference: Interval
    mcnemar_p: float
    p_holm: float
    macro_f1_p: float
    macro_f1_p_holm: float
    auroc: dict[str, AurocDifference]

    @property
    def real(self) -> bool:
        """Whether chance is an unlikely reason for the difference: by the test, and by the interval, which minds groups."""
        away = self.accuracy_difference.low > 0 or self.accuracy_difference.high < 0
        return self.p_holm < ALPHA and away

    @property
    def sentence(self) -> str:
        """Say which model makes fewer errors and whether the difference is real."""
        fewer = self.a_right_b_wrong - self.a_wrong_b_right
        p = p_value(self.p_holm)
        if fewer == 0:
            return f"{self.a} and {self.b} make the same number of errors ({p})"
        better, worse = (self.a, self.b) if fewer > 0 else (self.b, self.a)
        errors = "1 error fewer" if abs(fewer) == 1 else f"{abs(fewer):,} fewer errors"
        verdict = "more than chance explains" if self.real else "which chance could explain"
        return f"{better} makes {errors} than {worse}, {verdict} ({p})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs of some models on one split. dropped: samples of each model that the others lack and that were left out."""

    models: tuple[str, ...]
    split: str
    n: int
    n_groups: int | None
    intersected: bool
    dropped: dict[str, int]
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
    """Compare every pair of two or more (model_id, Predictions) on the same samples of one split.

    The tests are McNemar's mid-p on who is right (`mcnemar_mid_p`) and DeLong's on each one-vs-rest AUROC (`delong_test`), both
    corrected by Holm; the intervals of the differences in accuracy and macro-F1 are percentiles of a paired bootstrap: both models
    on the same draws (`resampling_weights`, stratified by true class, groups drawn whole).
    groups: ids for the samples of the first entry (all splits, in its order), as in `evaluate`; the p values still take samples as
    independent, which the notes then say. intersect: compare on the samples that all models have instead of refusing.

    Raises ConfigError, naming both models and the counts, when class names, true labels or (unless `intersect`) samples differ.
    """
    names = [name for name, _ in entries]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"a comparison needs two or more different models, got {', '.join(names) or 'none'}"
        )
    first = entries[0][1]
    if groups is not None and groups.shape != (len(first),):
        raise ConfigError(
            f"expected one group for each of the {len(first)} samples of {names[0]}, got {groups.shape}"
        )
    parts = [predictions.take(split) for _, predictions in entries]
    samples = _shared_samples(names, parts, split, intersect)
    aligned = [_align(part, samples) for part in parts]
    y_true = aligned[0][0]
    for name, (labels, _) in zip(names[1:], aligned[1:], strict=True):
        if (differing := int((labels != y_true).sum())) > 0:
            raise ConfigError(
                f"{names[0]} and {name} disagree on the true class of {differing} of {len(samples)} {split} samples; "
                "predict again with both models on the same dataset"
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
            f"compared on the {len(samples)} {split} samples that all {len(names)} models have"
        )
    if n_groups is not None and n_groups < len(samples):
        notes.append(
            f"the p values take samples as independent, though the {len(samples):,} form {n_groups:,} groups; the intervals do not"
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
    """Names of the samples to compare on, sorted so that the seeded draws do not hang on the order of a file."""
    a = parts[0]
    shared = set(a.samples)
    for name, part in zip(names[1:], parts[1:], strict=True):
        if part.class_names != a.class_names:
            raise ConfigError(
                f"{names[0]} and {name} cannot be compared: their classes are {', '.join(a.class_names)} ({len(a.class_names)}) "
                f"and {', '.join(part.class_names)} ({len(part.class_names)}), and must be the same in the same order"
            )
        both = len(set(a.samples) & set(part.samples))
        if not intersect and not both == len(a) == len(part):
            raise ConfigError(
                f"{names[0]} and {name} were not judged on the same {split} samples: {len(a)} and {len(part)}, of which they share "
                f"{both}; use models of the same split, or ask for the comparison on the shared samples"
            )
        shared &= set(part.samples)
        if not shared:
            raise ConfigError(
                f"{names[0]} ({len(a)} {split} samples) and {name} ({len(part)}) share {both}; no sample is left that "
                "all models have, so there is nothing to compare"
            )
    return sorted(shared)


def _align(part: Predictions, samples: list[str]) -> tuple[Labels, Scores]:
    """The labels (n,) and probabilities (n, C) of the named samples, in their order."""
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


def bootstrap_p(differences: npt.NDArray[np.floating]) -> float:
    """Two-sided p of "no difference" from its bootstrap replicates (B,): the level at which the percentile interval meets 0.

    Twice the share of replicates on the far side of 0, with one added to count and total, at most 1: Efron & Tibshirani 1993,
    ch. 13 (interval) and 15 (inverting it); the one: Davison & Hinkley 1997, eq. 4.11. With B replicates p is 2 / (B + 1) at least.
    """
    beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def _accuracy_and_f1(
    y_true: Labels, y_pred: Labels, classes: int, weights: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """(2, B) accuracy and macro-F1 under each column of weights (N, B)."""
    confusion = weighted_confusion(y_true, y_pred, classes, weights)
    accuracy = np.einsum("kkb->b", confusion) / confusion.sum(axis=(0, 1))
    return np.stack([accuracy, confusion_figures(confusion)["macro_f1"]])


def mcnemar_mid_p(b: int, c: int) -> float:
    """Two-sided mid-p value, in (0, 1], for b samples that only one model got right against c that only the other did.

    1 when b and c are both 0: no sample tells the models apart. Raises ConfigError for negative counts.
    Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol 13:91.
    """
    from scipy.special import bdtr, gammaln

    if b < 0 or c < 0:
        raise ConfigError(f"counts of samples must be 0 or more, got {b} and {c}")
    n, least = b + c, min(b, c)
    if n == 0:
        return 1.0
    point = float(
        np.exp(gammaln(n + 1) - gammaln(least + 1) - gammaln(n - least + 1) - n * np.log(2))
    )
    return 1 - point / 2 if b == c else float(2 * bdtr(least, n, 0.5)) - point


def delong_test(truth: Truth, score_a: Column, score_b: Column) -> AurocDifference:
    """Test whether two scores of the same samples, each (N,), have the same AUROC for truth (N,); normal 95 % interval, in [-1, 1].

    p is None, with a note, with fewer than 2 positives or negatives, or where a difference has no variance.
    Raises ConfigError without positives or negatives.
    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; placements by sorting, in N log N, as in Sun & Xu 2014, IEEE
    Signal Process Lett 21:1389.
    """
    from scipy.special import ndtr

    m, n = int(truth.sum()), int((~truth).sum())
    if not m or not n:
        raise ConfigError(f"an AUROC needs samples of the class and others, got {m} and {n}")
    (of_positives_a, of_negatives_a), (of_positives_b, of_negatives_b) = (
        placements(truth, score) for score in (score_a, score_b)
    )
    auroc_a, auroc_b = float(of_positives_a.mean()), float(of_positives_b.mean())
    difference = auroc_a - auroc_b
    if min(m, n) < 2:
        note = f"only {m} positive and {n} negative samples"
        return AurocDifference(auroc_a, auroc_b, Interval(difference, -1.0, 1.0), None, None, note)
    variance = float(
        np.var(of_positives_a - of_positives_b, ddof=1) / m
        + np.var(of_negatives_a - of_negatives_b, ddof=1) / n
    )
    error = float(np.sqrt(variance))
    if error < 1e-12:  # rounding of the placements, not variance
        same = abs(difference) < 1e-12
        note = (
            ""
            if same
            else "the difference is the same for every sample, so it has no variance to test against"
        )
        return AurocDifference(
            auroc_a,
            auroc_b,
            Interval(difference, difference, difference),
            1.0 if same else None,
            None,
            note,
        )
    interval = Interval(
        difference, max(-1.0, difference - Z * error), min(1.0, difference + Z * error)
    )
    return AurocDifference(
        auroc_a, auroc_b, interval, float(2 * ndtr(-abs(difference) / error)), None
    )


def placements(truth: Truth, score: Column) -> tuple[Column, Column]:
    """Share of negatives below each positive (m,), and of positives above each negative (n,); equal scores count half.

    Either mean is the AUROC. DeLong et al. 1988, eq. 4.
    """
    positive, negative = np.sort(score[truth]), np.sort(score[~truth])

    def below(values: Column, among: Column) -> Column:
        return (
            np.searchsorted(among, values, "left") + np.searchsorted(among, values, "right")
        ) / (2.0 * len(among))

    return below(score[truth], negative), 1 - below(score[~truth], positive)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number, in the given order, each in [0, 1] and not below its own.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scand J Statist 6:65.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort(kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    corrected = np.empty_like(p)
    corrected[order] = stepped
    return [float(value) for value in corrected]
