"""Confidence intervals: Wilson for proportions, bootstrap weights and percentiles for everything else.

All intervals are 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.records import Interval, Labels

Z = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""
BLOCK_BYTES = 4 * 2**20
"""Size of one block of bootstrap weights, small enough for a processor's cache; its statistics take about six times that."""
BLOCK_LEAST = 32
"""Replicates in a block at the least: below, the sorting that every block repeats would outweigh its sums."""


def wilson_interval(successes: float, n: float) -> Interval:
    """Proportion `successes / n` with its score interval, in [0, 1]; it has a width even at 0 of n and n of n.

    Both may be fractions of a sample (an effective sample size). Raises ConfigError unless 0 <= successes <= n and n > 0.
    Wilson 1927, "Probable inference", JASA 22:209; Newcombe 1998, Stat Med 17:857, method 3.
    """
    if not (n > 0 and 0 <= successes <= n):
        raise ConfigError(
            f"a proportion needs 0 <= successes <= n and n > 0, got {successes:g} of {n:g}"
        )
    p = successes / n
    centre = p + Z**2 / (2 * n)
    spread = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    # At 0 and 1 a bound coincides with the estimate, and rounding would otherwise put it a hair on the wrong side.
    return Interval(
        p, max(0.0, min(p, (centre - spread) / scale)), min(1.0, max(p, (centre + spread) / scale))
    )


def proportion_interval(
    hits: npt.NDArray[np.bool_], groups: Labels | None = None
) -> Interval | None:
    """Share of true values in `hits` (N,), with its 95 % interval; None when N is 0.

    Without groups this is Wilson's interval, which takes the samples as independent. With `groups` (N,), ids that samples of
    one patient or near-duplicates share, the sample size in Wilson's formula is divided by the design effect: the variance
    between groups over the binomial variance, at least 1 (at 0 or 1, where it cannot be estimated, a group counts as one
    sample). This keeps a width at 0 and 1, where a bootstrap over groups collapses to a point.
    Dean & Pagano 2015, "Evaluating confidence interval methods for binomial proportions in clustered surveys", J Surv Stat
    Methodol 3:484; linearised variance: Cochran 1977, "Sampling techniques", ch. 11.
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
    """Ratio of two independent non-negative figures, from their own intervals; math.inf where the denominator is 0.

    Donner & Zou 2012, "Closed-form confidence intervals for functions of the normal mean and standard deviation", Stat Methods
    Med Res 21:347, eq. 9 (MOVER-R).
    """
    a, la, ua = numerator.estimate, numerator.low, numerator.high
    b, lb, ub = denominator.estimate, denominator.low, denominator.high
    # The lower bound is in its rationalised form, which has no pole at ub = 2b.
    low_root = math.sqrt(max(0.0, (a * b) ** 2 - la * ub * (2 * a - la) * (2 * b - ub)))
    low = la * (2 * a - la) / (a * b + low_root) if a * b + low_root > 0 else 0.0
    high_root = math.sqrt(max(0.0, (a * b) ** 2 - ua * lb * (2 * a - ua) * (2 * b - lb)))
    high = (a * b + high_root) / (lb * (2 * b - lb)) if lb > 0 else math.inf
    estimate = a / b if b > 0 else math.inf
    return Interval(estimate, min(low, estimate), max(high, estimate))


def resampling_weights(
    y_true: Labels, replicates: int = 1000, seed: int = 0, groups: Labels | None = None
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield blocks (N, b) that say how often each sample was drawn in b bootstrap replicates; the b add up to `replicates`.

    y_true: (N,) class indices. Samples are drawn with replacement within their class, so every class keeps its size. With
    `groups` (N,) whole groups are drawn, within the class that most of their samples have (the lower index in a tie); the class
    sizes then vary, and a class whose samples all lie in groups of another class may be missing from a replicate.
    Raises ConfigError for fewer than 2 replicates or groups of another length.
    Efron & Tibshirani 1993, "An introduction to the bootstrap", ch. 6 and 8; groups: Field & Welsh 2007, JRSS B 69:369.
    """
    n = len(y_true)
    if replicates < 2:
        raise ConfigError(f"a bootstrap needs 2 or more replicates, got {replicates}")
    stratum, member = y_true, None
    if groups is not None:
        if groups.shape != (n,):
            raise ConfigError(f"expected one group a sample, got {groups.shape} for {n} samples")
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
    """(N,) group ids renamed 0, 1, 2 ... in the order in which they first appear, so that results do not hang on the ids."""
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    return first.argsort().argsort()[member]


def mean_interval(values: npt.NDArray[np.floating], groups: Labels | None = None) -> Interval:
    """Mean of `values` (N,) with its 95 % bootstrap interval; whole `groups` (N,) are drawn where they are given.

    Raises ConfigError when there are no values. Efron & Tibshirani 1993, ch. 6 and 13.
    """
    if not len(values):
        raise ConfigError("the mean of no values has no interval")
    draws = resampling_weights(np.zeros(len(values), dtype=np.int64), groups=groups)
    replicates = np.concatenate([values @ drawn / drawn.sum(axis=0) for drawn in draws])
    return percentile_interval(float(values.mean()), replicates)


def percentile_interval(estimate: float, replicates: npt.NDArray[np.floating]) -> Interval:
    """Estimate with the 2.5 % and 97.5 % quantiles of its bootstrap replicates (B,); replicates where it is NaN are left out.

    Widened to hold the estimate where the bias of resampling would leave it outside.
    Efron & Tibshirani 1993, ch. 13.
    """
    known = replicates[~np.isnan(replicates)]
    if not len(known):
        return Interval(estimate, estimate, estimate)
    low, high = (float(q) for q in np.quantile(known, (0.025, 0.975)))
    return Interval(estimate, min(low, estimate), max(high, estimate))


def summed_gap_interval(
    gaps: npt.NDArray[np.floating], replicates: npt.NDArray[np.floating]
) -> Interval:
    """Sum of the absolute gaps (K,), such as the calibration error of K bins, with its interval in [0, 1]; replicates: (K, B).

    Absolute values turn noise into gap: the sum is too high on a finite sample (Roelofs et al. 2022, "Mitigating bias in
    calibration error estimation", AISTATS), and resampling adds bias once more, so that all replicates may lie above the
    estimate. The distance up to their 97.5 % quantile is therefore taken on both sides: the lower bound of the basic bootstrap,
    the upper of the percentile bootstrap (Davison & Hinkley 1997, ch. 5). The lower bound is 0 where the noise alone, the
    replicates about the gaps, reaches the estimate in 2.5 % of the draws: no gap at all is then not ruled out.
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
