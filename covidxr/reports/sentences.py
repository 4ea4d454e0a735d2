"""Predictions, input checks and heat maps as sentences, for the pages, the CLI and the reports."""

from __future__ import annotations

from collections.abc import Mapping

from covidxr.cards import METHOD_TITLES, DetectorMetrics, ModelCard, PredictionSets
from covidxr.explanation.localization import HeatMapLocation, best_localization
from covidxr.formatting import decimal, percent, whole_percent
from covidxr.records import Attribution, CasePrediction, Stability, display_name

_CLEAR, _LIKELY = 0.9, 0.6
"""Calibrated probabilities: from the first on only one class is named, from the second on one is
favored over the other."""


def headline(prediction: CasePrediction) -> str:
    """Say what a model predicts, as firmly as its calibrated probabilities allow."""
    (first, p), (second, q), *_ = sorted(
        prediction.probabilities.items(), key=lambda item: -item[1]
    )
    one = f"{display_name(first)} ({whole_percent(p)})"
    other = f"{display_name(second)} ({whole_percent(q)})"
    if p >= _CLEAR:
        return f"Predicted: {one}"
    return f"{one} favored over {other}" if p >= _LIKELY else f"Indeterminate: {one} or {other}"


def prediction_set(sets: PredictionSets, probabilities: Mapping[str, float]) -> list[str]:
    """Return the classes in the prediction set of an image; there may be none.

    Args:
        sets: Thresholds of the model.
        probabilities: Calibrated, by class.
    """
    return [name for name, p in probabilities.items() if p >= sets.thresholds[name]]


def set_sentence(card: ModelCard, prediction: CasePrediction) -> tuple[str, str] | None:
    """Return the prediction set of an image, and its reliability; None for a model without sets."""
    sets = card.prediction_sets
    if sets is None:
        return None
    names = [display_name(name) for name in prediction_set(sets, prediction.probabilities)]
    coverage = whole_percent(sets.coverage)
    reliability = (
        f"Conformal prediction set with a target coverage of {coverage}. On the test set it "
        f"contains the true class in {percent(sets.overall.covered, sets.overall.n)}, and is empty "
        f"in {percent(sets.overall.empty)}: the model is then less certain than usual of every "
        "class. Valid only for images like the training data."
    )
    chosen = f"{{{', '.join(names)}}}" if names else "empty (the model abstains)"
    return f"{coverage} prediction set: {chosen}", reliability


def input_check_sentence(card: ModelCard, prediction: CasePrediction) -> tuple[str, str]:
    """Return the result of the input check of an image, and its reliability."""
    reliability = "No OOD detector is stored with this model; `covidxr audit` adds one."
    if card.gate:
        reliability = detector_performance(
            card.gate, sum(card.class_counts.get("test", {}).values())
        )
    if prediction.rejections:
        return f"Input check failed: {' '.join(prediction.rejections)}", reliability
    if card.gate is None:
        return "Input check unavailable", reliability
    return "Input check passed (in distribution)", reliability


def detector_performance(gate: DetectorMetrics, n: int) -> str:
    """Say what an OOD detector compares, and how it performs on n test images and on OOD images."""
    return (
        "The OOD detector compares intensity layout, texture and network features of an image with "
        f"the training images. AUROC for OOD against test images: {decimal(gate.auroc)}. Test "
        f"images rejected: {percent(gate.refused, n)}."
    )


def stability_sentence(stability: Stability) -> str:
    """Say whether a prediction changes when its image is flipped and rotated."""
    first, n = stability.called[0], len(stability.called)
    span = " to ".join(dict.fromkeys(map(whole_percent, stability.ranges[first])))
    if stability.kept == n:
        return f"Stable under horizontal flip and ±5° rotation ({span})"
    others = " or ".join(
        display_name(name) for name in dict.fromkeys(stability.called) if name != first
    )
    return (
        f"Unstable under horizontal flip and ±5° rotation: {others} in {n - stability.kept} of "
        f"{n - 1} versions ({display_name(first)} {span})"
    )


def location_sentence(facts: HeatMapLocation) -> str:
    """Say how much of a heat map is within the lungs, and in which zone most of that is."""
    if not facts.lungs:
        return "No lungs detected: the heat map cannot be assigned to a lung zone."
    if not facts.zone:
        return "No heat-map energy within the lungs."
    mostly = "mostly" if facts.in_zone > 0.5 else "with the largest share"
    image_side = "left" if facts.zone.startswith("right") else "right"
    return (
        f"{whole_percent(facts.in_lungs)} of the heat-map energy is within the lungs (lung area: "
        f"{whole_percent(facts.lungs)} of the image), {mostly} in the {facts.zone} zone "
        f"({image_side} side of the image)."
    )


def heat_caption(attribution: Attribution) -> str:
    """Say what a heat map shows, and at which resolution it was computed."""
    name, method = display_name(attribution.target), METHOD_TITLES[attribution.method]
    rows, columns = attribution.native_grid
    if rows < len(attribution.heat):
        method += f", {rows} x {columns} grid"
    if not attribution.heat.any():
        return f"No positive evidence for {name}. {method}."
    against = "; blue: evidence against it" if attribution.heat.min() < 0 else ""
    return f"Brighter: more evidence for {name}{against}. {method}."


def localization_sentences(card: ModelCard, method: str = "") -> tuple[str, ...]:
    """Say how well heat maps localize the boxes of radiologists, on the test set.

    Args:
        card: Of the model.
        method: Attribution method; otherwise the best one.

    Returns:
        The hit rate and what follows from it, or one sentence if it was not measured.
    """
    best = best_localization(card, method)
    if best is None or best.settings is None:
        return ("The localization performance of this model's heat maps has not been measured.",)
    hits, gain = best.test.hits, best.test.gain
    rate = (
        f"{METHOD_TITLES[best.settings.method]}, class {display_name(best.target)}: the maximum of "
        f"the heat map is inside the radiologists' box in {percent(hits, best.test.n)} "
        f"(fixed-location baseline: {whole_percent(hits.estimate - gain.estimate)})."
    )
    if gain.low > 0:
        return rate, "Localization is better than the baseline; extent was not evaluated."
    if gain.high < 0:
        return rate, "Localization is worse than the baseline: do not use it to find an opacity."
    return rate, "Localization is not distinguishable from the baseline."
