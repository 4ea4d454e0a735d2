from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from covidxr.cards import ModelCard, ShortcutCheck
from covidxr.datasets.dataset import Dataset, Sample
from covidxr.datasets.splits import split_dataset
from covidxr.models.recipes import recipe
from covidxr.models.store import read_card
from covidxr.records import CLASS_NAMES, RESEARCH_ONLY, Interval, SplitPlan
from covidxr.reports.model_card import draft_card, shortcut_sentences
from covidxr.storage import from_json, to_json


def card_for(sources: tuple[str | None, ...], synthetic: bool = False) -> ModelCard:
    """A card for a dataset of 30 images a class, each class from one source."""
    samples = tuple(
        Sample(f"{n}/images/{i}.png", c, sources[c])
        for c, n in enumerate(CLASS_NAMES)
        for i in range(30)
    )
    dataset = Dataset(Path("/x/db"), "", samples, "fp", "st", synthetic)
    split = split_dataset(dataset, SplitPlan(), np.arange(120))
    return draft_card("m", recipe("poster-cnn"), dataset, split, "random weights", 3, 12.34)


def test_a_class_that_shares_no_source_is_named_as_a_limit() -> None:
    limits = " ".join(card_for(("rsna", "clinic", "kermany", "rsna")).limits)
    assert "COVID shares no source" in limits
    assert "Viral Pneumonia shares no source" in limits
    assert "Lung_Opacity shares no source" not in limits
    assert "Normal shares no source" not in limits


def test_unknown_sources_are_not_accused() -> None:
    assert not any("shares no source" in limit for limit in card_for((None,) * 4).limits)


def test_phantoms_are_called_phantoms() -> None:
    card = card_for(("phantom",) * 4, synthetic=True)
    assert card.synthetic
    assert card.dataset_name == "synthetic phantoms, not radiographs"
    assert any("knows nothing of real patients" in limit for limit in card.limits)


def test_the_card_says_what_it_is_and_survives_the_journey() -> None:
    card = card_for(("rsna",) * 4)
    assert RESEARCH_ONLY in card.intended_use
    assert abs(sum(card.class_counts["train"].values()) - 84) <= 4
    assert sum(sum(counts.values()) for counts in card.class_counts.values()) == 120
    assert (card.best_epoch, card.training_seconds, card.dataset_name) == (3, 12.3, "db")
    assert from_json(ModelCard, to_json(card)) == card


def test_a_shortcut_is_said_in_plain_words() -> None:
    half = Interval(0.5, 0.4, 0.6)
    checks = (
        ShortcutCheck(
            "border",
            "all",
            24,
            {"accuracy": Interval(0.9, 0.8, 1.0), "macro_f1": half, "COVID": half},
        ),
        ShortcutCheck("intensity", "all", 24, {"accuracy": half, "macro_f1": half}),
        ShortcutCheck(
            "within-source", "rsna: Normal vs Lung_Opacity", 24, {"auroc": half}, "few samples"
        ),
        ShortcutCheck(
            "source-from-features", "a vs b within Normal", 24, {"auroc": half, "accuracy": half}
        ),
        ShortcutCheck("within-source", "COVID", 24, {}, "it shares no source"),
    )
    card = replace(
        card_for(("a",) * 4), metrics={"accuracy": Interval(0.95, 0.94, 0.96)}, shortcuts=checks
    )
    border, intensity, within, probe, without = shortcut_sentences(card)
    assert (
        "only its frame, 6 % of the width on each side, calls 90.0 % (80.0-100.0) of the test pictures right"
        in border
    )
    assert "tells COVID from the rest with an AUROC of 50.0 % (40.0-60.0)" in border
    assert "this model, which sees all of it, calls 95.0 % (94.0-96.0) right" in border
    assert "COVID" not in intensity
    assert within.startswith(
        "Within the source rsna, where knowing it is no help, this model tells Normal vs Lung opacity with"
    )
    assert within.endswith("(few samples).")
    assert "50.0 % (40.0-60.0), where chance is 50 %: a vs b within Normal." in probe
    assert without == "COVID: not measured, since it shares no source."


@pytest.mark.parametrize(
    ("right", "words"), [(0.9, "still calls 90.0 %"), (0.2, "only calls 20.0 %")]
)
def test_what_is_right_without_the_lungs_is_set_against_always_saying_the_same(
    phantom_model_folder: Path, right: float, words: str
) -> None:
    card = read_card(
        phantom_model_folder / "phantom-cnn"
    )  # 6 test phantoms of each class: always the same is right for 25 %
    figures = {
        "accuracy": Interval(right, right - 0.05, right + 0.05),
        "lung_area": Interval(0.3, 0.3, 0.3),
    }
    checks = tuple(
        ShortcutCheck(kind, "all", 24, figures) for kind in ("lungs-blackened", "lungs-only")
    )
    blackened, only = shortcut_sentences(replace(card, shortcuts=checks))
    assert words in blackened
    assert "right for 25 %" in blackened
    assert ("beside the lungs, or off their outline" in blackened) == (right > 0.25)
    assert "With only the lungs left, 30.0 % (30.0-30.0) of a picture" in only
