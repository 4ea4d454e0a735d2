"""Heat maps in sentences: where one lies, and how far those of a model may be trusted."""

from __future__ import annotations

from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.explanation.localization import MapFacts, best_localisation
from covidxr.formatting import percent, whole_percent
from covidxr.records import Attribution, display_name


def map_sentence(facts: MapFacts) -> str:
    """Say in one sentence where a map lies: in or out of the lungs, and in which zone, by the patient's right and left."""
    if not facts.lungs:
        return "No lungs were found in this picture, so where the map lies in them cannot be said."
    inside = f"{whole_percent(facts.in_lungs)} of the map lies inside the lungs, which fill {whole_percent(facts.lungs)} of the picture"
    if not facts.zone:
        return "Nothing of the map lies inside the lungs."
    mostly = "mostly" if facts.in_zone > 0.5 else "more than elsewhere"
    side, band = facts.zone.split()
    where = f"{side} {band} zone (the patient's {side}: in the picture, {'left' if side == 'right' else 'right'})"
    return f"{inside}; {mostly} in the {where}."


def heat_caption(attribution: Attribution) -> str:
    """Say what a heat map shows and how coarse it is."""
    name, title, (rows, columns) = (
        display_name(attribution.target),
        METHOD_TITLES[attribution.method],
        attribution.native_grid,
    )
    coarse = rows < len(attribution.heat)
    grid = (
        f", {rows} x {columns} grid: each cell covers 1/{rows * columns} of what the model sees"
        if coarse
        else ""
    )
    if not attribution.heat.any():
        return f"Nothing in the picture spoke for {name} ({title}{grid})."
    against = ", blue against it" if attribution.heat.min() < 0 else ""
    return f"Brighter speaks for {name}{against}. {title}{grid}."


def trust_sentences(card: ModelCard, method: str = "") -> tuple[str, ...]:
    """Say how far maps of a method, or the best of all, point where radiologists did; one sentence where that was not measured.

    The figures are those on test, since the kind of map was chosen on val.
    """
    best = best_localisation(card, method)
    if best is None or best.settings is None:
        return (
            "Whether this model's heat maps point where radiologists would has not been measured.",
        )
    title, test, name = (
        METHOD_TITLES[best.settings.method],
        best.test,
        display_name(best.target).lower(),
    )
    fixed = test.hits.estimate - test.gain.estimate
    first = (
        f"{title} of this model points into the radiologists' box in {_of_ten(test.hits.estimate)} pictures of {name} "
        f"({percent(test.hits)}, n = {test.n}); always pointing at the same spot would in "
        f"{_of_ten(fixed)} ({whole_percent(fixed)})."
    )
    if test.gain.low > 0:
        return (
            first,
            "So the map says something about this patient; how much of the box it covers is another matter.",
        )
    if test.gain.high < 0:
        return (
            first,
            "So the map finds the place less often than a fixed spot: it is no guide to where the opacity is.",
        )
    return (
        first,
        "That difference may be chance: what the map says of this patient, a fixed spot may say as well.",
    )


def _of_ten(share: float) -> str:
    return f"{round(10 * share)} of 10"
