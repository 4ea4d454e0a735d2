"""Number formats shared by the interface, the reports and the command line."""

from __future__ import annotations

from covidxr.records import Interval

NO_VALUE = "–"
"""Shown where a value is undefined, such as a ratio with a denominator of zero."""


def percent(interval: Interval | None, n: int | None = None, brief: bool = False) -> str:
    """Format a proportion with its interval: `95.2% (95% CI 94.3–96.0), n = 2,433`.

    Args:
        interval: Proportion in [0, 1], or None where it is undefined.
        n: Number of samples, or None to omit it.
        brief: Omit "95% CI", for tables whose caption names it: `95.2% (94.3–96.0)`.
    """
    if interval is None:
        return NO_VALUE
    estimate, low, high = (
        f"{value * 100:.1f}" for value in (interval.estimate, interval.low, interval.high)
    )
    return _with_interval(f"{estimate}%", low, high, n, brief)


def decimal(interval: Interval | None, n: int | None = None, brief: bool = False) -> str:
    """Format a value that is not a percentage, such as an AUROC: `0.967 (95% CI 0.955–0.976)`.

    Args:
        interval: Value, or None where it is undefined.
        n: Number of samples, or None to omit it.
        brief: Omit "95% CI", for tables whose caption names it: `0.967 (0.955–0.976)`.
    """
    if interval is None:
        return NO_VALUE
    estimate, low, high = (
        f"{value:.3f}" for value in (interval.estimate, interval.low, interval.high)
    )
    return _with_interval(estimate, low, high, n, brief)


def _with_interval(estimate: str, low: str, high: str, n: int | None, brief: bool) -> str:
    text = f"{estimate} ({'' if brief else '95% CI '}{low}–{high})"
    return text if n is None else f"{text}, n = {n:,}"


def points(difference: Interval, brief: bool = False) -> str:
    """Format a difference of two proportions: `+1.2 percentage points (95% CI -0.3 to +2.7)`.

    brief: Omit the words, for tables whose caption has them: `+1.2 (-0.3 to +2.7)`.
    """
    low, high = f"{difference.low * 100:+.1f}", f"{difference.high * 100:+.1f}"
    unit, ci = ("", "") if brief else (" percentage points", "95% CI ")
    return f"{difference.estimate * 100:+.1f}{unit} ({ci}{low} to {high})"


def decimal_difference(difference: Interval) -> str:
    """Format a difference of values such as AUROCs: `+0.012 (-0.003 to +0.027)`."""
    estimate, low, high = (
        f"{value:+.3f}" for value in (difference.estimate, difference.low, difference.high)
    )
    return f"{estimate} ({low} to {high})"


def whole_percent(probability: float) -> str:
    """Format a probability in [0, 1], never as certain: `93%`, `<1%`, `>99%`."""
    if probability > 0.99:
        return ">99%"
    return "<1%" if probability < 0.01 else f"{probability * 100:.0f}%"


def p_value(p: float) -> str:
    """Format a p value to three decimals: `p = 0.013`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def count(n: float, singular: str = "image") -> str:
    """Format a count with its noun: `1 image`, `1,204 images`."""
    return f"1 {singular}" if n == 1 else f"{n:,.0f} {singular}s"


def duration(seconds: float) -> str:
    """Format a duration: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def data_size(size: float) -> str:
    """Format a number of bytes: `340 kB`, `268 MB`, `79 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return (
                f"{size / scale:.1f} {unit}" if size < 10 * scale else f"{size / scale:,.0f} {unit}"
            )
    return f"{size / 1e3:.0f} kB"
