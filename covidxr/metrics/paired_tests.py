"""Tests of paired samples: McNemar, DeLong, bootstrap p values and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.metrics.intervals import Z
from covidxr.records import Interval

Mask = npt.NDArray[np.bool_]
"""(N,) whether each sample is of the class."""
Column = npt.NDArray[np.float64]
"""(N,) one value per sample."""


@dataclass(frozen=True, slots=True)
class AurocDifference:
    """The one-vs-rest AUROC of one class under two models."""

    auroc_a: float
    auroc_b: float
    difference: Interval
    """a minus b."""
    p: float | None
    """None where the test is undefined, for the reason in `note`."""
    p_holm: float | None
    note: str = ""


def mcnemar_mid_p(b: int, c: int) -> float:
    """Compute the two-sided mid-p value of McNemar's test.

    Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol 13:91.

    Args:
        b: Number of samples that only the first model classifies correctly.
        c: Number of samples that only the second model classifies correctly.

    Returns:
        In (0, 1]; 1 when both counts are 0.

    Raises:
        ConfigError: A count is negative.
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


def delong_test(is_positive: Mask, score_a: Column, score_b: Column) -> AurocDifference:
    """Test whether two scores of the same samples have the same AUROC.

    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; placements by sorting, in N log N, as
    in Sun & Xu 2014, IEEE Signal Process Lett 21:1389.

    Args:
        is_positive: (N,) whether each sample is of the class.
        score_a: (N,), higher for the class.
        score_b: (N,), higher for the class.

    Returns:
        The difference with its normal 95% interval, within [-1, 1]. p is None, with a note, for
        fewer than 2 positives or negatives, or where a difference has no variance.

    Raises:
        ConfigError: There are no positives, or no negatives.
    """
    from scipy.special import ndtr

    m, n = int(is_positive.sum()), int((~is_positive).sum())
    if not m or not n:
        raise ConfigError(f"an AUROC needs positive and negative samples, got {m} and {n}")
    (of_positives_a, of_negatives_a), (of_positives_b, of_negatives_b) = (
        placements(is_positive, score) for score in (score_a, score_b)
    )
    auroc_a, auroc_b = float(of_positives_a.mean()), float(of_positives_b.mean())
    difference = auroc_a - auroc_b
    if min(m, n) < 2:
        note = f"no test with {m} positive and {n} negative samples; each needs 2 or more"
        return AurocDifference(auroc_a, auroc_b, Interval(difference, -1.0, 1.0), None, None, note)
    variance = float(
        np.var(of_positives_a - of_positives_b, ddof=1) / m
        + np.var(of_negatives_a - of_negatives_b, ddof=1) / n
    )
    error = float(np.sqrt(variance))
    # Below this it is rounding of the placements, not variance.
    if error < 1e-12:
        exact = Interval(difference, difference, difference)
        if abs(difference) < 1e-12:
            return AurocDifference(auroc_a, auroc_b, exact, 1.0, None)
        note = "no test: the difference has no variance between samples"
        return AurocDifference(auroc_a, auroc_b, exact, None, None, note)
    reach = Z * error
    interval = Interval(difference, max(-1.0, difference - reach), min(1.0, difference + reach))
    p = float(2 * ndtr(-abs(difference) / error))
    return AurocDifference(auroc_a, auroc_b, interval, p, None)


def placements(is_positive: Mask, score: Column) -> tuple[Column, Column]:
    """Compute the placements of each sample among the other class, DeLong et al. 1988, eq. 4.

    Args:
        is_positive: (N,) whether each sample is of the class.
        score: (N,), higher for the class.

    Returns:
        Proportion of negatives below each positive (m,) and of positives above each negative (n,);
        equal scores count half. The mean of either is the AUROC.
    """
    positive, negative = np.sort(score[is_positive]), np.sort(score[~is_positive])

    def below(values: Column, among: Column) -> Column:
        less, up_to = (np.searchsorted(among, values, side) for side in ("left", "right"))
        return np.asarray((less + up_to) / (2.0 * len(among)))

    return below(score[is_positive], negative), 1 - below(score[~is_positive], positive)


def bootstrap_p(differences: npt.NDArray[np.floating]) -> float:
    """Compute the two-sided p value of "no difference" from bootstrap replicates.

    It is the level at which the percentile interval meets 0: twice the proportion of replicates
    beyond 0 (Efron & Tibshirani 1993, ch. 13 and 15), with 1 added to count and total (Davison &
    Hinkley 1997, eq. 4.11).

    Args:
        differences: (B,) replicates of the difference.

    Returns:
        In [2 / (B + 1), 1].
    """
    beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for multiple testing, in the given order.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scand J Statist 6:65.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort(kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    corrected = np.empty_like(p)
    corrected[order] = stepped
    return [float(value) for value in corrected]
