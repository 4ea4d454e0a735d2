"""A model's answer as a sentence."""

from __future__ import annotations

from covidxr.figures import whole_percent
from covidxr.records import CasePrediction, display_name

_CLEAR, _LIKELY = 0.9, 0.6
"""Calibrated probabilities from which a verdict is said without naming the second class, and from which it is said at all."""


def verdict(prediction: CasePrediction) -> str:
    """Say what a model finds likely, as surely as its probabilities allow and no more."""
    (first, p), (second, q), *_ = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    # The space before the sign does not break, lest a line begin with it.
    one, other = (f"{display_name(name)} ({whole_percent(x)})".replace(" %", "\u00a0%") for name, x in ((first, p), (second, q)))
    if p >= _CLEAR:
        return f"Most likely {one}"
    return f"Probably {one}, but {other} is possible" if p >= _LIKELY else f"Unclear: {one} or {other}"
