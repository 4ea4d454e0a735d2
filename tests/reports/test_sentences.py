"""Sentences against expected texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from covidxr.cards import Localization, MapSettings, ModelCard, Pointing
from covidxr.explanation.localization import HeatMapLocation
from covidxr.models.store import read_card
from covidxr.records import Attribution, CasePrediction, Interval, Stability
from covidxr.reports.sentences import (
    headline,
    heat_caption,
    input_check_sentence,
    localization_sentences,
    location_sentence,
    set_sentence,
    stability_sentence,
)

CARD = read_card(Path(__file__).resolve().parents[2] / "weights" / "covidxr-resnet18")


@pytest.mark.parametrize(
    ("covid", "sentence"),
    [
        (0.995, "Predicted: COVID-19 (>99%)"),
        (0.9, "Predicted: COVID-19 (90%)"),
        (0.89, "COVID-19 (89%) favored over Normal (11%)"),
        (0.6, "COVID-19 (60%) favored over Normal (40%)"),
        (0.59, "Indeterminate: COVID-19 (59%) or Normal (41%)"),
    ],
)
def test_the_headline_depends_on_the_probability(covid: float, sentence: str) -> None:
    assert headline(CasePrediction("m", {"Normal": 1 - covid, "COVID": covid})) == sentence


def test_prediction_sets_are_listed_with_their_coverage() -> None:
    assert CARD.prediction_sets is not None
    sets = replace(CARD.prediction_sets, thresholds={"Normal": 0.2, "COVID": 0.7})
    card = replace(CARD, prediction_sets=sets)

    def chosen(normal: float, covid: float) -> tuple[str, str] | None:
        return set_sentence(card, CasePrediction("m", {"Normal": normal, "COVID": covid}))

    both, none = chosen(0.2, 0.7), chosen(0.1, 0.6)
    assert both is not None
    assert none is not None
    assert both[0] == "90% prediction set: {Normal, COVID-19}"
    assert none[0] == "90% prediction set: empty (the model abstains)"
    assert "contains the true class in 88.7% (95% CI 87.3–89.9), n = 2,434" in both[1]
    assert set_sentence(replace(CARD, prediction_sets=None), CasePrediction("m", {})) is None


@pytest.mark.parametrize(
    ("called", "sentence"),
    [
        (("COVID",) * 6, "Stable under horizontal flip and ±5° rotation (51% to 88%)"),
        (
            ("COVID", "COVID", "Normal", "COVID", "Lung_Opacity", "Normal"),
            "Unstable under horizontal flip and ±5° rotation: Normal or Lung opacity in 3 of 5 "
            "versions (COVID-19 51% to 88%)",
        ),
    ],
)
def test_stability_of_a_prediction(called: tuple[str, ...], sentence: str) -> None:
    stability = Stability({"COVID": (0.51, 0.88), "Normal": (0.1, 0.4)}, called)
    assert stability_sentence(stability) == sentence


def test_equal_ends_of_a_range_are_written_once() -> None:
    stability = Stability({"COVID": (0.992, 0.999)}, ("COVID",) * 6)
    assert stability_sentence(stability).endswith("rotation (>99%)")


def test_the_input_check_is_passed_failed_or_unavailable() -> None:
    passed = CasePrediction("m", {})
    rejected = CasePrediction("m", {}, ("Nearly black.", "A stripe."))
    assert input_check_sentence(CARD, passed)[0] == "Input check passed (in distribution)"
    assert input_check_sentence(CARD, rejected)[0] == "Input check failed: Nearly black. A stripe."
    assert "rejected: 5.1% (95% CI 4.2–6.2), n = 2,434." in input_check_sentence(CARD, rejected)[1]
    without = replace(CARD, gate=None)
    assert input_check_sentence(without, passed)[0] == "Input check unavailable"
    # The DICOM header can reject an image without an OOD detector.
    assert (
        input_check_sentence(without, rejected)[0] == "Input check failed: Nearly black. A stripe."
    )


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            HeatMapLocation(0.72, 0.31, "right lower", 0.6),
            "72% of the heat-map energy is within the lungs (lung area: 31% of the image), "
            "mostly in the right lower zone (left side of the image).",
        ),
        (
            HeatMapLocation(0.2, 0.31, "left upper", 0.4),
            "20% of the heat-map energy is within the lungs (lung area: 31% of the image), "
            "with the largest share in the left upper zone (right side of the image).",
        ),
        (HeatMapLocation(0.0, 0.31, "", 0.0), "No heat-map energy within the lungs."),
        (
            HeatMapLocation(0.0, 0.0, "", 0.0),
            "No lungs detected: the heat map cannot be assigned to a lung zone.",
        ),
    ],
)
def test_location_of_a_heat_map(facts: HeatMapLocation, sentence: str) -> None:
    assert location_sentence(facts) == sentence


@pytest.mark.parametrize(
    ("lowest", "highest", "sentence"),
    [
        (0, 1, "Brighter: more evidence for Lung opacity. Occlusion, 7 x 7 grid."),
        (
            -1,
            1,
            "Brighter: more evidence for Lung opacity; blue: evidence against it. "
            "Occlusion, 7 x 7 grid.",
        ),
        (0, 0, "No positive evidence for Lung opacity. Occlusion, 7 x 7 grid."),
    ],
)
def test_captions_of_heat_maps(lowest: float, highest: float, sentence: str) -> None:
    heat = np.zeros((64, 64), dtype=np.float32)
    heat[0, 0], heat[1, 1] = lowest, highest
    attribution = Attribution("occlusion", "Lung_Opacity", heat, (7, 7))
    assert heat_caption(attribution) == sentence
    assert "grid" not in heat_caption(replace(attribution, native_grid=(64, 64)))


@pytest.fixture
def card(phantom_model_folder: Path) -> ModelCard:
    return read_card(phantom_model_folder / "phantom-cnn")


@pytest.mark.parametrize(
    ("gain", "conclusion"),
    [
        (Interval(0.1, 0.02, 0.2), "better than the baseline"),
        (Interval(0.1, -0.02, 0.2), "not distinguishable from the baseline"),
        (Interval(-0.2, -0.3, -0.1), "worse than the baseline"),
    ],
)
def test_localization_on_test_is_compared_with_the_baseline(
    card: ModelCard, gain: Interval, conclusion: str
) -> None:
    test = Pointing(66, Interval(0.71, 0.6, 0.8), Interval(0.3, 0.2, 0.4), gain)
    val = replace(test, hits=Interval(0.99, 0.9, 1.0))
    settings = MapSettings("hirescam", "relu2", smoothing=0.06)
    card = replace(card, localisation=(Localization("Lung_Opacity", settings, "", val, test, val),))
    first, second = localization_sentences(card)
    assert first == (
        "HiResCAM, class Lung opacity: the maximum of the heat map is inside the radiologists' box "
        "in 71.0% (95% CI 60.0–80.0), n = 66 "
        f"(fixed-location baseline: {100 * (0.71 - gain.estimate):.0f}%)."
    )
    assert conclusion in second
    assert localization_sentences(card, "hirescam") == (first, second)
    assert "has not been measured" in localization_sentences(card, "occlusion")[0]


def test_a_model_without_localization_results_says_so(card: ModelCard) -> None:
    assert localization_sentences(card) == (
        "The localization performance of this model's heat maps has not been measured.",
    )
