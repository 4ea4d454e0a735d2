"""A model's answer as a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from covidxr.cards import GateFigures, ModelCard, PredictionSets
from covidxr.formatting import percent, whole_percent
from covidxr.records import CasePrediction, Stability, display_name

_CLEAR, _LIKELY = 0.9, 0.6
"""Calibrated probabilities from which a verdict is said without naming the second class, and from which it is said at all."""


def verdict(prediction: CasePrediction) -> str:
    """Say what a model finds likely, as surely as its probabilities allow and no more."""
    (first, p), (second, q), *_ = sorted(
        prediction.probabilities.items(), key=lambda item: -item[1]
    )
    # The space before the sign does not break, lest a line begin with it.
    one, other = (
        f"{display_name(name)} ({whole_percent(x)})".replace(" %", "\u00a0%")
        for name, x in ((first, p), (second, q))
    )
    if p >= _CLEAR:
        return f"Most likely {one}"
    return (
        f"Probably {one}, but {other} is possible" if p >= _LIKELY else f"Unclear: {one} or {other}"
    )


def prediction_set(sets: PredictionSets, probabilities: Mapping[str, float]) -> list[str]:
    """Return the classes that a picture's prediction set holds, by its calibrated probabilities; none at all is an answer too."""
    return [name for name, p in probabilities.items() if p >= sets.thresholds[name]]


def set_sentence(card: ModelCard, prediction: CasePrediction) -> tuple[str, str] | None:
    """Say which classes a picture's prediction set holds, and what that is worth; None for a model that makes no sets."""
    sets = card.prediction_sets
    if sets is None:
        return None
    chosen = [display_name(name) for name in prediction_set(sets, prediction.probabilities)]
    coverage, held, empty = (
        whole_percent(sets.coverage),
        percent(sets.overall.covered, sets.overall.n),
        percent(sets.overall.empty),
    )
    worth = (
        f"A class is listed unless it is less likely here than for {coverage} of the validation pictures that have it. On test "
        f"pictures the list held the right class for {held}; {empty} got no answer, since "
        "the model is less sure of them than of most pictures of each class. This holds for pictures like the dataset's."
    )
    return f"At {coverage} coverage: {' or '.join(chosen) or 'no answer'}", worth


def gate_sentence(card: ModelCard, prediction: CasePrediction) -> tuple[str, str]:
    """Say whether the model may judge a picture, and what that is worth."""
    worth = "The model was stored without a check for pictures unlike those that it learned from (`covidxr audit` adds it)."
    if card.gate:
        worth = gate_worth(card.gate, sum(card.class_counts.get("test", {}).values()))
    if prediction.refusals:
        return f"Not judged: {' '.join(prediction.refusals)}", worth
    if card.gate is None:
        return "Whether this model may judge this picture is not known", worth
    return "The model may judge this picture: it looks like those that it learned from", worth


def gate_worth(gate: GateFigures, n: int) -> str:
    """Say what a gate compares, and how well it does on n test pictures and on foreign ones."""
    return (
        "The gate compares a picture with those that the model learned from: where light and dark lie, how fine its grain is, and "
        f"what the network sees in it. It turns away {percent(gate.refused, n)} of the test pictures, which the model may judge, "
        f"and of a test picture and a foreign one it knows which is which in {percent(gate.auroc)} of all pairs (AUROC)."
    )


def stability_sentence(stability: Stability) -> str:
    """Say what became of an answer when its picture was mirrored and turned a little."""
    first, n = stability.called[0], len(stability.called)
    low, high = stability.ranges[first]
    figures = " to ".join(dict.fromkeys((whole_percent(low), whole_percent(high))))
    if stability.kept == n:
        return f"Mirrored and turned by 5°, the picture gets the same answer ({figures})"
    others = " or ".join(
        display_name(name) for name in dict.fromkeys(stability.called) if name != first
    )
    changed = f"{n - stability.kept} of {n - 1} times {others}"
    return f"Mirrored or turned by 5°, the picture gets another answer: {changed} ({display_name(first)} {figures})"
