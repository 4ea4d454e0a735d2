"""The numbers of the shortcut audit: could where a picture is from, and not what it shows, carry a model's figures?

The question: Geirhos et al. 2020, "Shortcut learning in deep neural networks", Nat Mach Intell 2:665. In this field: DeGrave,
Janizek & Lee 2021, "AI for radiographic COVID-19 detection selects shortcuts over signal", Nat Mach Intell 3:610.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from covidxr.cards import ShortcutCheck
from covidxr.errors import ConfigError
from covidxr.metrics.classification import FEW_SAMPLES, evaluate, weighted_ranking
from covidxr.metrics.intervals import (
    mean_interval,
    percentile_interval,
    proportion_interval,
    resampling_weights,
)
from covidxr.records import Interval, Labels, Predictions, display_name

UNKNOWN = "unknown"
"""Source of the samples whose collection is not known; they are not one collection, so no check counts them as such."""

Features = npt.NDArray[np.float32]
"""(N, F) one row a picture."""
Mask = npt.NDArray[np.bool_]
"""(N,) true or false a sample."""


def border_features(pixels: npt.NDArray[np.uint8]) -> Features:
    """Return the outer ring of each picture, S/16 pixels wide (6.25 %), where hardly any lung is: (N, F), grey values in [0, 255].

    pixels: (N, S, S) uint8. The ring is averaged over 2 x 2 blocks, in reading order: 240 features at 64 pixels. Raises ConfigError
    for another shape or type, and unless S is divisible by 32: blocks would otherwise reach into the picture.
    After Maguolo & Nanni 2021, "A critic evaluation of methods for COVID-19 automatic detection from X-ray images", Information
    Fusion 76:1, who blackened the lungs.
    """
    _check_pixels(pixels)
    size = pixels.shape[1]
    if size % 32:
        raise ConfigError(
            f"the border needs pictures whose edge is divisible by 32 pixels, got {size}"
        )
    ring = np.ones((size // 2, size // 2), dtype=bool)
    width = size // 32
    ring[width:-width, width:-width] = False
    rows, columns = 2 * np.argwhere(ring).T
    total = np.zeros((len(pixels), len(rows)), dtype=np.float32)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        total += pixels[:, rows + down, columns + right]
    return total * np.float32(0.25)


def intensity_features(pixels: npt.NDArray[np.uint8]) -> Features:
    """Return what is left of each picture when its pixels are shuffled: (N, 13), to the bit the same in any order of pixels.

    pixels: (N, S, S) uint8. The columns are mean, standard deviation (of all pixels, not of a sample), minimum, maximum and the
    percentiles 1, 5, 25, 50, 75, 95, 99 (linear interpolation), all in grey values in [0, 255], then skewness m3 / m2^1.5 and
    excess kurtosis m4 / m2^2 - 3 from the central moments, both 0 for a picture of one grey value.
    Raises ConfigError for another shape or type.
    Percentiles: Hyndman & Fan 1996, Am Stat 50:361, definition 7; moments: Joanes & Gill 1998, The Statistician 47:183, g1 and g2.
    """
    _check_pixels(pixels)
    # All 13 follow from the histogram, which is 16 times smaller than 64 x 64 pixels as floating point numbers.
    counts = np.array([np.bincount(picture.ravel(), minlength=256) for picture in pixels]).reshape(
        len(pixels), 256
    )
    total = pixels.shape[1] * pixels.shape[2]
    grey = np.arange(256.0)
    mean = counts @ grey / total
    centred = grey - mean[:, None]
    m2, m3, m4 = (np.einsum("nv,nv->n", counts, centred**k) / total for k in (2, 3, 4))
    varied = m2 > 0
    skewness = np.divide(m3, m2**1.5, out=np.zeros_like(m2), where=varied)
    kurtosis = np.divide(m4, m2**2, out=np.full_like(m2, 3.0), where=varied) - 3
    cumulated = counts.cumsum(axis=1)

    def percentile(q: float) -> npt.NDArray[np.float64]:
        rank, part = divmod(q / 100 * (total - 1), 1)
        low, high = ((cumulated <= r).sum(axis=1) for r in (rank, min(rank + 1, total - 1)))
        return np.asarray(low + part * (high - low))

    order = [percentile(q) for q in (0, 100, 1, 5, 25, 50, 75, 95, 99)]
    return np.column_stack([mean, np.sqrt(m2), *order, skewness, kurtosis]).astype(np.float32)


def _check_pixels(pixels: npt.NDArray[np.uint8]) -> None:
    if pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2] or pixels.dtype != np.uint8:
        raise ConfigError(
            f"pixels must be square pictures (N, S, S) of type uint8, got {pixels.shape} of type {pixels.dtype}"
        )


def baseline_check(
    kind: Literal["border", "intensity"],
    features: Features,
    labels: Labels,
    train_rows: npt.NDArray[np.int64],
    test_rows: npt.NDArray[np.int64],
    class_names: tuple[str, ...],
    groups: Labels | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> ShortcutCheck:
    """Learn the classes from features that hold nothing of the lungs, and judge that on the test rows as a model is judged.

    features: (N, F).  labels: (N,) class indices.  train_rows, test_rows: rows of the two, each row once.
    groups: (N,) ids that samples of one patient, or near-duplicates, share; None takes samples as independent.

    The figures are accuracy, macro_f1 and, by class name, the AUROC of each class against the rest where it is defined, with the
    intervals of `evaluate`. The learner is gradient boosting on histograms with scikit-learn's own settings (100 rounds of 31
    leaves at a learning rate of 0.1) and without early stopping, so that nothing is chosen, least of all on the data: a shortcut
    that an untuned learner finds is there. Raises ConfigError when there are no test rows.
    Friedman 2001, "Greedy function approximation: a gradient boosting machine", Ann Stat 29:1189; Ke et al. 2017, "LightGBM".
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    subject = " vs ".join(class_names)
    if len(np.unique(labels[train_rows])) < 2:
        return ShortcutCheck(
            kind, subject, len(test_rows), {}, "the training pictures are all of one class"
        )
    model = HistGradientBoostingClassifier(early_stopping=False, random_state=seed).fit(
        features[train_rows], labels[train_rows]
    )
    y_score = np.zeros((len(test_rows), len(class_names)))
    y_score[:, model.classes_] = model.predict_proba(features[test_rows])
    samples = tuple(f"{row:08d}" for row in test_rows)  # padded: evaluate sorts by name
    predictions = Predictions(
        class_names, samples, ("test",) * len(samples), labels[test_rows], y_score
    )
    found = evaluate(
        predictions,
        groups=None if groups is None else groups[test_rows],
        replicates=replicates,
        seed=seed,
    )
    by_class = {
        name: figures.auroc
        for name, figures in found.per_class.items()
        if figures.auroc is not None
    }
    return ShortcutCheck(
        kind, subject, found.n, {"accuracy": found.accuracy, "macro_f1": found.macro_f1, **by_class}
    )


def within_source_checks(
    predictions: Predictions, split: str = "test", replicates: int = 1000, seed: int = 0
) -> tuple[ShortcutCheck, ...]:
    """Judge a model between two classes of one source, where knowing the source is of no help.

    One check for every source and every two classes that both have samples in it: the AUROC of p_b / (p_a + p_b), the probability
    of the later class b given that it is one of the two (0.5 where both are 0), with a seeded bootstrap stratified by class that
    draws predictions.groups where there are any. It has no width at a perfect figure; `reason` says where few samples make it too
    narrow. A class that shares no source with another has one check without figures; so have predictions without sources.
    Nothing depends on the order of the samples. Raises ConfigError for an unknown split.
    Pairs of classes: Hand & Till 2001, "A simple generalisation of the area under the ROC curve for multiple class classification
    problems", Machine Learning 45:171, with one score for the pair where they average those of p_a and p_b.
    """
    part = predictions.take(split)
    names = part.class_names
    if part.sources is None:
        return (
            ShortcutCheck(
                "within-source", " vs ".join(names), len(part), {}, "the dataset names no sources"
            ),
        )
    order = np.argsort(np.array(part.samples))
    y_true, y_score, sources = (
        part.y_true[order],
        part.y_score[order],
        np.array(part.sources)[order],
    )
    groups = None if part.groups is None else part.groups[order]
    checks, shared = [], set()
    for source in sorted(set(part.sources) - {UNKNOWN}):
        for a, b in combinations(np.unique(y_true[sources == source]).tolist(), 2):
            shared |= {a, b}
            rows = (sources == source) & np.isin(y_true, (a, b))
            both = y_score[rows][:, [a, b]]
            mass = both.sum(axis=1)
            score = np.divide(both[:, 1], mass, out=np.full_like(mass, 0.5), where=mass > 0)
            truth, own = y_true[rows] == b, None if groups is None else groups[rows]
            figures = {"auroc": ranking_interval(truth, score, own, replicates, seed)}
            subject, few = (
                f"{source}: {names[a]} vs {names[b]}",
                _too_narrow(truth, (names[a], names[b]), own),
            )
            checks.append(ShortcutCheck("within-source", subject, len(truth), figures, few))
    for k in sorted(set(y_true.tolist()) - shared):
        reason = (
            f"{display_name(names[k])} shares no source with another class, "
            "so whether it is told by what the pictures show or by where they are from cannot be seen"
        )
        checks.append(
            ShortcutCheck("within-source", names[k], int((y_true == k).sum()), {}, reason)
        )
    return tuple(checks)


def lungs_check(
    kind: Literal["lungs-blackened", "lungs-only"],
    predictions: Predictions,
    areas: npt.NDArray[np.floating],
    lungless: int,
) -> ShortcutCheck:
    """Judge a model's predictions of test pictures of which the lungs, or all but the lungs, were blackened.

    areas: (N,) the lungs' share of each picture, in [0, 1].  lungless: pictures left out, since no lungs were found in them.
    The figures are accuracy, macro_f1 and lung_area, with the intervals of `evaluate`.
    After Maguolo & Nanni 2021 (see `border_features`).
    """
    found = evaluate(predictions, groups=predictions.groups)
    figures = {
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "lung_area": mean_interval(areas, predictions.groups),
    }
    left_out = (
        f"{lungless} pictures are left out, since no lungs were found in them" if lungless else ""
    )
    return ShortcutCheck(kind, " vs ".join(predictions.class_names), found.n, figures, left_out)


def source_probe(
    features_fit: npt.NDArray[np.floating],
    sources_fit: Sequence[str],
    features_test: npt.NDArray[np.floating],
    sources_test: Sequence[str],
    class_name: str,
    groups_test: Labels | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> ShortcutCheck:
    """Ask whether a linear probe can read the source of one class's pictures off a model's penultimate features.

    features_fit: (M, D) and features_test: (N, D), each with one source a row; groups_test: (N,) ids as in `baseline_check`.
    Only the two most frequent sources of the fit set are told apart; the later in the alphabet is the positive one. The probe is
    logistic regression on standardised features. Figures: auroc, 0.5 by chance, with the interval of `within_source_checks`, and
    accuracy with that of `proportion_interval`, to be read against the share of the larger source. With fewer than two sources,
    or fewer than FEW_SAMPLES pictures of one of them on either side, there are no figures and `reason` says why.
    Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fit, test = np.array(sources_fit, dtype=str), np.array(sources_test, dtype=str)
    tally = Counter(
        sorted(source for source in fit.tolist() if source != UNKNOWN)
    )  # sorted: a tie goes by the alphabet
    pair = sorted(source for source, _ in tally.most_common(2))
    if len(pair) < 2:
        reason = f"the pictures of {display_name(class_name)} to learn from do not come from two known sources"
        return ShortcutCheck(
            "source-from-features", f"sources within {class_name}", len(test), {}, reason
        )
    learnt, judged = np.isin(fit, pair), np.isin(test, pair)
    subject, n = f"{pair[0]} vs {pair[1]} within {class_name}", int(judged.sum())
    for rows, purpose in ((fit, "learn from"), (test, "judge on")):
        for source in pair:
            if (count := int((rows == source).sum())) < FEW_SAMPLES:
                reason = f"{source} has {count} pictures of {display_name(class_name)} to {purpose}, fewer than {FEW_SAMPLES}"
                return ShortcutCheck("source-from-features", subject, n, {}, reason)
    # In double precision, which the solver needs to converge; on standardised features that takes far fewer iterations than these.
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))
    probe.fit(features_fit[learnt].astype(np.float64), fit[learnt] == pair[1])
    score = probe.decision_function(features_test[judged].astype(np.float64))
    truth, own = test[judged] == pair[1], None if groups_test is None else groups_test[judged]
    accuracy = proportion_interval((score > 0) == truth, own)
    assert accuracy is not None  # there are FEW_SAMPLES of each source
    figures = {"auroc": ranking_interval(truth, score, own, replicates, seed), "accuracy": accuracy}
    return ShortcutCheck(
        "source-from-features", subject, n, figures, _too_narrow(truth, (pair[0], pair[1]), own)
    )


def ranking_interval(
    truth: Mask,
    score: npt.NDArray[np.float64],
    groups: Labels | None,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """AUROC of a score (N,) between two classes that both have samples, with its bootstrap interval."""
    estimate = weighted_ranking(truth, score, np.ones((len(truth), 1)))[0]
    blocks = resampling_weights(truth.astype(np.int64), replicates, seed, groups)
    return percentile_interval(
        float(estimate[0]), np.concatenate([weighted_ranking(truth, score, w)[0] for w in blocks])
    )


def _too_narrow(truth: Mask, names: tuple[str, str], groups: Labels | None) -> str:
    """Say so when fewer than FEW_SAMPLES independent samples of a class (names[0] where truth is false) carry an interval."""
    unit = "sample" if groups is None else "group"
    few = []
    for name, own in zip(names, (~truth, truth), strict=True):
        count = int(own.sum()) if groups is None else len(np.unique(groups[own]))
        if count < FEW_SAMPLES:
            few.append(f"only {count} {unit}{'s' * (count > 1)} of {display_name(name)}")
    return f"{' and '.join(few)}: the interval is too narrow" if few else ""
