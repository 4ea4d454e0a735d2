"""Shortcut audit: checks of whether image source, not pathology, explains a model's performance.

Geirhos et al. 2020, "Shortcut learning in deep neural networks", Nat Mach Intell 2:665; in this
field: DeGrave, Janizek & Lee 2021, "AI for radiographic COVID-19 detection selects shortcuts over
signal", Nat Mach Intell 3:610.
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
from covidxr.formatting import count
from covidxr.metrics.classification import FEW_SAMPLES, evaluate
from covidxr.metrics.intervals import (
    mean_interval,
    percentile_interval,
    proportion_interval,
    resampling_weights,
)
from covidxr.metrics.weighted import weighted_ranking
from covidxr.records import Interval, Labels, Predictions, display_name

UNKNOWN = "unknown"
"""Source of samples from unknown collections; no check treats them as one source."""

Features = npt.NDArray[np.float32]
"""(N, F) one row per image."""
Mask = npt.NDArray[np.bool_]
"""(N,) one boolean per sample."""


def border_features(pixels: npt.NDArray[np.uint8]) -> Features:
    """Extract the border of each image, S/16 pixels wide (6.25%), with hardly any lung.

    After Maguolo & Nanni 2021, "A critic evaluation of methods for COVID-19 automatic detection
    from X-ray images", Information Fusion 76:1, who blackened the lungs.

    Args:
        pixels: (N, S, S) uint8, S divisible by 32, so that no block reaches into the interior.

    Returns:
        (N, F) means of 2 x 2 blocks in [0, 255], in reading order; 240 features at 64 pixels.

    Raises:
        ConfigError: pixels has another shape or type.
    """
    _check_pixels(pixels)
    size = pixels.shape[1]
    if size % 32:
        raise ConfigError(f"border features need an image size divisible by 32 pixels, got {size}")
    ring = np.ones((size // 2, size // 2), dtype=bool)
    width = size // 32
    ring[width:-width, width:-width] = False
    rows, columns = 2 * np.argwhere(ring).T
    total = np.zeros((len(pixels), len(rows)), dtype=np.float32)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        total += pixels[:, rows + down, columns + right]
    return total * np.float32(0.25)


def intensity_features(pixels: npt.NDArray[np.uint8]) -> Features:
    """Compute 13 intensity statistics of each image, independent of the positions of its pixels.

    Percentiles: Hyndman & Fan 1996, Am Stat 50:361, definition 7. Moments: Joanes & Gill 1998, The
    Statistician 47:183, g1 and g2.

    Args:
        pixels: (N, S, S) uint8.

    Returns:
        (N, 13): mean, population standard deviation, minimum, maximum and percentiles 1, 5, 25, 50,
        75, 95, 99 (linear interpolation), all in [0, 255]; then skewness m3 / m2^1.5 and excess
        kurtosis m4 / m2^2 - 3 of the central moments, both 0 for a uniform image.

    Raises:
        ConfigError: pixels has another shape or type.
    """
    _check_pixels(pixels)
    # All 13 follow from the histogram, 16 times smaller than 64 x 64 floating-point pixels.
    counts = np.array([np.bincount(image.ravel(), minlength=256) for image in pixels])
    counts = counts.reshape(len(pixels), 256)
    total = pixels.shape[1] * pixels.shape[2]
    gray = np.arange(256.0)
    mean = counts @ gray / total
    centered = gray - mean[:, None]
    m2, m3, m4 = (np.einsum("nv,nv->n", counts, centered**k) / total for k in (2, 3, 4))
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
            "pixels must be square images (N, S, S) of type uint8, "
            f"got {pixels.shape} of type {pixels.dtype}"
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
    """Train a baseline on features without lung information and evaluate it like a model.

    It is histogram gradient boosting with scikit-learn's defaults (100 rounds, 31 leaves, learning
    rate 0.1), without early stopping or tuning: a shortcut that an untuned classifier finds exists.
    Friedman 2001, "Greedy function approximation: a gradient boosting machine", Ann Stat 29:1189;
    Ke et al. 2017, "LightGBM".

    Args:
        kind: Type of the features.
        features: (N, F).
        labels: (N,) class indices.
        train_rows: Row indices, each once.
        test_rows: Row indices, each once.
        class_names: C names.
        groups: (N,) ids shared by samples of one patient and by near-duplicates; None takes
            samples as independent.
        replicates: Number of bootstrap replicates, 2 or more.
        seed: Of the classifier and the bootstrap.

    Returns:
        accuracy, macro_f1 and, by class name, one-vs-rest AUROC where defined, with the intervals
        of `evaluate`.

    Raises:
        ConfigError: There are no test rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    subject = " vs ".join(class_names)
    if len(np.unique(labels[train_rows])) < 2:
        reason = "all training images have the same class"
        return ShortcutCheck(kind, subject, len(test_rows), {}, reason)
    model = HistGradientBoostingClassifier(early_stopping=False, random_state=seed).fit(
        features[train_rows], labels[train_rows]
    )
    y_score = np.zeros((len(test_rows), len(class_names)))
    y_score[:, model.classes_] = model.predict_proba(features[test_rows])
    # Padded, since evaluate sorts by name.
    samples = tuple(f"{row:08d}" for row in test_rows)
    splits = ("test",) * len(samples)
    predictions = Predictions(class_names, samples, splits, labels[test_rows], y_score)
    found = evaluate(
        predictions,
        groups=None if groups is None else groups[test_rows],
        replicates=replicates,
        seed=seed,
    )
    metrics = {"accuracy": found.accuracy, "macro_f1": found.macro_f1}
    for name, of_class in found.per_class.items():
        if of_class.auroc is not None:
            metrics[name] = of_class.auroc
    return ShortcutCheck(kind, subject, found.n, metrics)


def within_source_checks(
    predictions: Predictions, split: str = "test", replicates: int = 1000, seed: int = 0
) -> tuple[ShortcutCheck, ...]:
    """Evaluate a model on pairs of classes within one source, where the source is not informative.

    The score of classes a and b is p_b / (p_a + p_b), 0.5 where both are 0, after Hand & Till 2001,
    "A simple generalisation of the area under the ROC curve for multiple class classification
    problems", Machine Learning 45:171 (who average over p_a and p_b). The AUROC has the interval of
    `ranking_interval`, which has no width at a perfect value.

    Args:
        predictions: Of one model, with sources and, where known, groups.
        split: The split to evaluate.
        replicates: Number of bootstrap replicates, 2 or more.
        seed: Of the bootstrap.

    Returns:
        One check per source and pair of classes in it, with a `reason` where few samples make the
        interval too narrow; one without metrics per class that shares no source with another, or
        where the sources are unknown. Results do not depend on the order of the samples.

    Raises:
        ConfigError: The split is unknown.
    """
    part = predictions.take(split)
    names = part.class_names
    if part.sources is None:
        reason = "the dataset has no source information"
        return (ShortcutCheck("within-source", " vs ".join(names), len(part), {}, reason),)
    order = np.argsort(np.array(part.samples))
    y_true, y_score = part.y_true[order], part.y_score[order]
    sources = np.array(part.sources)[order]
    groups = None if part.groups is None else part.groups[order]
    checks, shared = [], set()
    for source in sorted(set(part.sources) - {UNKNOWN}):
        for a, b in combinations(np.unique(y_true[sources == source]).tolist(), 2):
            shared |= {a, b}
            rows = (sources == source) & np.isin(y_true, (a, b))
            both = y_score[rows][:, [a, b]]
            mass = both.sum(axis=1)
            score = np.divide(both[:, 1], mass, out=np.full_like(mass, 0.5), where=mass > 0)
            is_b, own = y_true[rows] == b, None if groups is None else groups[rows]
            metrics = {"auroc": ranking_interval(is_b, score, own, replicates, seed)}
            subject = f"{source}: {names[a]} vs {names[b]}"
            narrow = _too_narrow(is_b, (names[a], names[b]), own)
            checks.append(ShortcutCheck("within-source", subject, len(is_b), metrics, narrow))
    for k in sorted(set(y_true.tolist()) - shared):
        reason = (
            f"{display_name(names[k])} shares no source with another class, "
            "so class and source are confounded"
        )
        n = int((y_true == k).sum())
        checks.append(ShortcutCheck("within-source", names[k], n, {}, reason))
    return tuple(checks)


def lungs_check(
    kind: Literal["lungs-blackened", "lungs-only"],
    predictions: Predictions,
    areas: npt.NDArray[np.floating],
    lungless: int,
) -> ShortcutCheck:
    """Evaluate predictions of test images in which the lungs, or all but the lungs, were blackened.

    After Maguolo & Nanni 2021 (see `border_features`).

    Args:
        kind: Whether the lungs or everything else was blackened.
        predictions: Of the N masked test images.
        areas: (N,) proportion of each image inside the lungs, in [0, 1].
        lungless: Number of test images excluded because no lungs were found.

    Returns:
        accuracy, macro_f1 and lung_area, with the intervals of `evaluate`.
    """
    found = evaluate(predictions, groups=predictions.groups)
    metrics = {
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "lung_area": mean_interval(areas, predictions.groups),
    }
    reason = f"{count(lungless)} without detected lungs excluded" if lungless else ""
    return ShortcutCheck(kind, " vs ".join(predictions.class_names), found.n, metrics, reason)


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
    """Test whether a linear probe can decode the source of one class from a model's features.

    The probe is logistic regression on standardized features, between the two most frequent sources
    of the training images; the later in the alphabet is positive. Alain & Bengio 2016,
    "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644.

    Args:
        features_fit: (M, D) penultimate features of training images of the class.
        sources_fit: M sources.
        features_test: (N, D) the same of test images.
        sources_test: N sources.
        class_name: The class of all these images.
        groups_test: (N,) ids as in `baseline_check`.
        replicates: Number of bootstrap replicates, 2 or more.
        seed: Of the probe and the bootstrap.

    Returns:
        auroc (chance level 0.5) with the interval of `ranking_interval`, and accuracy (chance
        level: the proportion of the larger source) with that of `proportion_interval`. No metrics,
        and a `reason`, with fewer than two sources or FEW_SAMPLES images of one in either set.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fit, test = np.array(sources_fit, dtype=str), np.array(sources_test, dtype=str)
    # Sorted, so that ties are resolved alphabetically.
    tally = Counter(sorted(source for source in fit.tolist() if source != UNKNOWN))
    pair = sorted(source for source, _ in tally.most_common(2))
    if len(pair) < 2:
        subject = f"sources within {class_name}"
        reason = f"{display_name(class_name)} has fewer than two known sources in training"
        return ShortcutCheck("source-from-features", subject, len(test), {}, reason)
    fitted, tested = np.isin(fit, pair), np.isin(test, pair)
    subject, n = f"{pair[0]} vs {pair[1]} within {class_name}", int(tested.sum())
    for rows, split in ((fit, "training"), (test, "test")):
        for source in pair:
            if (few := int((rows == source).sum())) < FEW_SAMPLES:
                images = count(few, f"{split} image")
                reason = (
                    f"{source} has only {images} of {display_name(class_name)}; "
                    f"{FEW_SAMPLES} are required"
                )
                return ShortcutCheck("source-from-features", subject, n, {}, reason)
    # Double precision, which the solver needs to converge, far within these iterations.
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))
    probe.fit(features_fit[fitted].astype(np.float64), fit[fitted] == pair[1])
    score = probe.decision_function(features_test[tested].astype(np.float64))
    is_second, own = test[tested] == pair[1], None if groups_test is None else groups_test[tested]
    accuracy = proportion_interval((score > 0) == is_second, own)
    # There are FEW_SAMPLES of each source.
    assert accuracy is not None
    auroc = ranking_interval(is_second, score, own, replicates, seed)
    metrics = {"auroc": auroc, "accuracy": accuracy}
    narrow = _too_narrow(is_second, (pair[0], pair[1]), own)
    return ShortcutCheck("source-from-features", subject, n, metrics, narrow)


def ranking_interval(
    is_positive: Mask,
    score: npt.NDArray[np.float64],
    groups: Labels | None,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Compute the AUROC of a score with the interval of a bootstrap stratified by class.

    Args:
        is_positive: (N,), with at least one sample of either class.
        score: (N,), higher for positives.
        groups: (N,) ids of groups to draw whole; None takes samples as independent.
        replicates: Number of bootstrap replicates, 2 or more.
        seed: Of the bootstrap.
    """
    estimate = weighted_ranking(is_positive, score, np.ones((len(is_positive), 1)))[0]
    blocks = resampling_weights(is_positive.astype(np.int64), replicates, seed, groups)
    draws = np.concatenate([weighted_ranking(is_positive, score, w)[0] for w in blocks])
    return percentile_interval(float(estimate[0]), draws)


def _too_narrow(is_second: Mask, names: tuple[str, str], groups: Labels | None) -> str:
    """Return a note where a class has fewer than FEW_SAMPLES independent samples, or nothing."""
    unit = "sample" if groups is None else "group"
    few = []
    for name, own in zip(names, (~is_second, is_second), strict=True):
        independent = int(own.sum()) if groups is None else len(np.unique(groups[own]))
        if independent < FEW_SAMPLES:
            few.append(f"only {count(independent, unit)} of {display_name(name)}")
    return f"{' and '.join(few)}: the interval is too narrow" if few else ""
