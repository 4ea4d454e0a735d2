"""Answers as sentences, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from covidxr.models.store import read_card
from covidxr.records import CasePrediction, Stability
from covidxr.reports.sentences import gate_sentence, stability_sentence

CARD = read_card(Path(__file__).resolve().parents[2] / "weights" / "covidxr-resnet18")


@pytest.mark.parametrize(
    ("called", "sentence"),
    [
        (
            ("COVID",) * 6,
            "Mirrored and turned by 5°, the picture gets the same answer (51 % to 88 %)",
        ),
        (
            ("COVID", "COVID", "Normal", "COVID", "Lung_Opacity", "Normal"),
            "Mirrored or turned by 5°, the picture gets another answer: 3 of 5 times Normal or Lung opacity (COVID 51 % to 88 %)",
        ),
    ],
)
def test_how_steady_an_answer_is(called: tuple[str, ...], sentence: str) -> None:
    assert (
        stability_sentence(Stability({"COVID": (0.51, 0.88), "Normal": (0.1, 0.4)}, called))
        == sentence
    )


def test_figures_that_are_written_alike_are_written_once() -> None:
    assert stability_sentence(Stability({"COVID": (0.992, 0.999)}, ("COVID",) * 6)).endswith(
        "the same answer (>99 %)"
    )


def test_the_gate_says_yes_no_or_that_it_is_not_there() -> None:
    passed, refused = (
        CasePrediction("m", {}),
        CasePrediction("m", {}, ("It is almost black.", "It is a stripe.")),
    )
    assert gate_sentence(CARD, passed)[0].startswith("The model may judge this picture")
    assert gate_sentence(CARD, refused)[0] == "Not judged: It is almost black. It is a stripe."
    assert "n = 2,434 of the test pictures" in gate_sentence(CARD, refused)[1]
    assert "not known" in gate_sentence(replace(CARD, gate=None), passed)[0]
    # What the file's header says counts without a gate, too.
    assert (
        gate_sentence(replace(CARD, gate=None), refused)[0]
        == "Not judged: It is almost black. It is a stripe."
    )
