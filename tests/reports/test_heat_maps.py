"""Heat maps in sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from covidxr.cards import Localisation, MapSettings, ModelCard, Pointing
from covidxr.explanation.localization import MapFacts
from covidxr.models.store import read_card
from covidxr.records import Interval
from covidxr.reports.heat_maps import map_sentence, trust_sentences


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            MapFacts(0.72, 0.31, "right lower", 0.6),
            "72 % of the map lies inside the lungs, which fill 31 % of the picture; mostly in the right lower zone (the patient's "
            "right: in the picture, left).",
        ),
        (
            MapFacts(0.2, 0.31, "left upper", 0.4),
            "20 % of the map lies inside the lungs, which fill 31 % of the picture; more than elsewhere in the left upper zone "
            "(the patient's left: in the picture, right).",
        ),
        (MapFacts(0.0, 0.31, "", 0.0), "Nothing of the map lies inside the lungs."),
        (
            MapFacts(0.0, 0.0, "", 0.0),
            "No lungs were found in this picture, so where the map lies in them cannot be said.",
        ),
    ],
)
def test_where_a_map_lies(facts: MapFacts, sentence: str) -> None:
    assert map_sentence(facts) == sentence


@pytest.fixture
def card(phantom_model_folder: Path) -> ModelCard:
    return read_card(phantom_model_folder / "phantom-cnn")


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (Interval(0.1, 0.02, 0.2), "says something about this patient"),
        (Interval(0.1, -0.02, 0.2), "may be chance"),
        (Interval(-0.2, -0.3, -0.1), "less often than a fixed spot"),
    ],
)
def test_trust_is_that_of_test_beside_the_fixed_spot(
    card: ModelCard, gain: Interval, verdict: str
) -> None:
    test = Pointing(66, Interval(0.71, 0.6, 0.8), Interval(0.3, 0.2, 0.4), gain)
    val = replace(test, hits=Interval(0.99, 0.9, 1.0))
    settings = MapSettings("hirescam", "relu2", smoothing=0.06)
    card = replace(card, localisation=(Localisation("Lung_Opacity", settings, "", val, test, val),))
    first, second = trust_sentences(card)
    fixed = 0.71 - gain.estimate
    assert first == (
        "HiResCAM of this model points into the radiologists' box in 7 of 10 pictures of lung opacity (71.0 % (60.0-80.0), n = 66)"
        f"; always pointing at the same spot would in {round(10 * fixed)} of 10 ({100 * fixed:.0f} %)."
    )
    assert verdict in second
    assert trust_sentences(card, "hirescam") == (first, second)
    assert "has not been measured" in trust_sentences(card, "occlusion")[0]


def test_a_model_without_figures_says_so(card: ModelCard) -> None:
    assert trust_sentences(card) == (
        "Whether this model's heat maps point where radiologists would has not been measured.",
    )
