"""95% confidence intervals: Wilson for proportions, bootstrap for all other metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.records import Interval, Labels

Z = 1.959963984540054
"""The 97.5% quantile of the standard normal distribution."""
BLOCK_BYTES = 4 * 2**20
"""Size of a block of bootstrap weights, within the cache; its statistics take six times that."""
BLOCK_LEAST = 32
"""Least number of replicates in a block: with fewer, sorting in each block would dominate."""


def wilson_interval(successes: float, n: float) -> Interval:
    """Compute the Wilson score interval of a proportion, which keeps a width at 0 and 1.

    Wilson 1927, "Probable inference", JASA 22:209; Newcombe 1998, Stat Med 17:857, method 3.

    Args:
        successes: In [0, n]; may be fractional.
        n: Sample size, positive; may be fractional (an effective sample size).

    Raises:
        ConfigError: An argument is out of range.
    """
    if not (n > 0 and 0 <= successes <= n):
        raise ConfigError(
            f"a proportion needs 0 <= successes <= n and n > 0, got {successes:g} of {n:g}"
        )
    p = successes / n
    center = p + Z**2 / (2 * n)
    spread = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    # At 0 and 1 a bound equals the estimate; without min and max, rounding could make it cross.
    low, high = (center - spread) / scale, (center + spread) / scale
    return Interval(p, max(0.0, min(p, low)), min(1.0, max(p, high)))


def proportion_interval(
    hits: npt.NDArray[np.bool_], groups: Labels | None = None
) -> Interval | None:
    """Compute a proportion with its 95% Wilson interval, clustered by group where given.

    With groups, the sample size in Wilson's formula is divided by the design effect: the variance
    between groups over the binomial variance, at least 1 (at a proportion of 0 or 1, where it
    cannot be estimated, a group counts as one sample). This keeps a width at 0 and 1, where a
    bootstrap over groups has none. Dean & Pagano 2015, "Evaluating confidence interval methods for
    binomial proportions in clustered surveys", J Surv Stat Methodol 3:484; linearized variance:
    Cochran 1977, "Sampling techniques", ch. 11.

    Args:
        hits: (N,) whether each sample counts.
        groups: (N,) ids shared by samples of one patient and by near-duplicates; None takes
            samples as independent.

    Returns:
        The proportion in [0, 1], or None when N is 0.
    """
    n = len(hits)
    if n == 0:
        return None
    p = float(hits.mean())
    size = float(n)
    if groups is not None:
        _, member = np.unique(groups, return_inverse=True)
        count = int(member.max()) + 1
        if p in (0.0, 1.0) or count == 1:
            size = float(count)
        else:
            residual = np.bincount(member, weights=hits - p)
            variance = float((residual**2).sum()) / n**2 * count / (count - 1)
            size = n / max(1.0, variance / (p * (1 - p) / (n - 1)))
    interval = wilson_interval(p * size, size)
    return Interval(p, min(p, interval.low), max(p, interval.high))


def ratio_interval(numerator: Interval, denominator: Interval) -> Interval:
    """Compute the ratio of two independent non-negative values from their intervals.

    Donner & Zou 2012, "Closed-form confidence intervals for functions of the normal mean and
    standard deviation", Stat Methods Med Res 21:347, eq. 9 (MOVER-R).

    Returns:
        The ratio, with math.inf where the denominator is 0.
    """
    a, la, ua = numerator.estimate, numerator.low, numerator.high
    b, lb, ub = denominator.estimate, denominator.low, denominator.high
    # The lower bound is in its rationalized form, which has no pole at ub = 2b.
    low_root = math.sqrt(max(0.0, (a * b) ** 2 - la * ub * (2 * a - la) * (2 * b - ub)))
    low = la * (2 * a - la) / (a * b + low_root) if a * b + low_root > 0 else 0.0
    high_root = math.sqrt(max(0.0, (a * b) ** 2 - ua * lb * (2 * a - ua) * (2 * b - lb)))
    high = (a * b + high_root) / (lb * (2 * b - lb)) if lb > 0 else math.inf
    estimate = a / b if b > 0 else math.inf
    return Interval(estimate, min(low, estimate), max(high, estimate))


def resampling_weights(
    y_true: Labels, replicates: int = 1000, seed: int = 0, groups: Labels | None = None
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the weights of a seeded bootstrap, stratified by class, in blocks.

    Samples are drawn with replacement within their class, so that every class keeps its size. With
    groups, whole groups are drawn within their most frequent class (the lower index in a tie);
    class sizes then vary, and a class that is in the minority in all its groups may be absent from
    a replicate. Efron & Tibshirani 1993, "An introduction to the bootstrap", ch. 6 and 8; groups:
    Field & Welsh 2007, JRSS B 69:369.

    Args:
        y_true: (N,) class indices.
        replicates: Total number of replicates, 2 or more.
        seed: Of the draws.
        groups: (N,) ids shared by dependent samples; None takes samples as independent.

    Yields:
        (N, b) how often each sample was drawn in each of b replicates.

    Raises:
        ConfigError: There are fewer than 2 replicates, or groups has another length.
    """
    n = len(y_true)
    if replicates < 2:
        raise ConfigError(f"a bootstrap needs 2 or more replicates, got {replicates}")
    stratum, member = y_true, None
    if groups is not None:
        if groups.shape != (n,):
            raise ConfigError(f"expected one group per sample, got {groups.shape} for {n} samples")
        member = number_groups(groups)
        classes = int(y_true.max()) + 1
        table = np.bincount(member * classes + y_true, minlength=(int(member.max()) + 1) * classes)
        stratum = table.reshape(-1, classes).argmax(axis=1)
    random = np.random.default_rng(seed)
    strata = [np.flatnonzero(stratum == k) for k in np.unique(stratum)]
    block = min(replicates, max(BLOCK_LEAST, BLOCK_BYTES // (4 * n)))
    for start in range(0, replicates, block):
        b = min(block, replicates - start)
        drawn = np.empty((len(stratum), b), dtype=np.float32)
        for units in strata:
            m = len(units)
            flat = random.integers(0, m, size=(b, m)) + m * np.arange(b)[:, None]
            drawn[units] = np.bincount(flat.ravel(), minlength=b * m).reshape(b, m).T
        yield drawn if member is None else drawn[member]


def number_groups(groups: Labels) -> Labels:
    """Renumber group ids (N,) by first appearance, which makes results independent of the ids."""
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    return first.argsort().argsort()[member]


def mean_interval(values: npt.NDArray[np.floating], groups: Labels | None = None) -> Interval:
    """Compute a mean with its 95% bootstrap interval. Efron & Tibshirani 1993, ch. 6 and 13.

    Args:
        values: (N,).
        groups: (N,) ids of groups to draw whole; None takes values as independent.

    Raises:
        ConfigError: There are no values.
    """
    if not len(values):
        raise ConfigError("a mean needs at least one value, got none")
    draws = resampling_weights(np.zeros(len(values), dtype=np.int64), groups=groups)
    replicates = np.concatenate([values @ drawn / drawn.sum(axis=0) for drawn in draws])
    return percentile_interval(float(values.mean()), replicates)


def percentile_interval(estimate: float, replicates: npt.NDArray[np.floating]) -> Interval:
    """Compute the 95% percentile interval of bootstrap replicates (B,), without those that are NaN.

    It is widened to contain the estimate where resampling bias would exclude it. Efron & Tibshirani
    1993, ch. 13.
    """
    known = replicates[~np.isnan(replicates)]
    if not len(known):
        return Interval(estimate, estimate, estimate)
    low, high = (float(q) for q in np.quantile(known, (0.025, 0.975)))
    return Interval(estimate, min(low, estimate), max(high, estimate))


def summed_gap_interval(
    gaps: npt.NDArray[np.floating], replicates: npt.NDArray[np.floating]
) -> Interval:
    """Compute the sum of absolute gaps, such as a calibration error, with its interval in [0, 1].

    The sum is biased upward on a finite sample (Roelofs et al. 2022, "Mitigating bias in
    calibration error estimation", AISTATS). Resampling adds the bias again, so that all replicates
    may exceed the estimate. The distance to their 97.5% quantile is therefore used on both sides:
    the lower bound of the basic and the upper bound of the percentile bootstrap (Davison & Hinkley
    1997, ch. 5). The lower bound is 0 where noise alone (the replicates minus the gaps) reaches the
    estimate in 2.5% of the draws, so that a gap of 0 cannot be excluded.

    Args:
        gaps: (K,), one per bin.
        replicates: (K, B) bootstrap replicates of the gaps.
    """
    estimate = float(np.abs(gaps).sum())
    upper, noise = (
        float(np.quantile(np.abs(r).sum(axis=0), 0.975))
        for r in (replicates, replicates - gaps[:, None])
    )
    reach = max(0.0, upper - estimate)
    return Interval(
        estimate,
        0.0 if noise >= estimate else max(0.0, estimate - reach),
        min(1.0, estimate + reach),
    )
