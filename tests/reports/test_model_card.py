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


def test_a_class_with_a_source_of_its_own_is_a_limitation() -> None:
    limits = " ".join(card_for(("rsna", "clinic", "kermany", "rsna")).limits)
    assert "COVID-19 shares no source" in limits
    assert "Viral pneumonia shares no source" in limits
    assert "Lung opacity shares no source" not in limits
    assert "Normal shares no source" not in limits


def test_unknown_sources_are_no_limitation() -> None:
    assert not any("shares no source" in limit for limit in card_for((None,) * 4).limits)


def test_a_card_of_phantoms_says_so() -> None:
    card = card_for(("phantom",) * 4, synthetic=True)
    assert card.synthetic
    assert card.dataset_name == "synthetic phantoms, not radiographs"
    assert any("not applicable to patients" in limit for limit in card.limits)


def test_a_drafted_card_is_complete_and_survives_a_round_trip() -> None:
    card = card_for(("rsna",) * 4)
    assert RESEARCH_ONLY in card.intended_use
    assert abs(sum(card.class_counts["train"].values()) - 84) <= 4
    assert sum(sum(counts.values()) for counts in card.class_counts.values()) == 120
    assert (card.best_epoch, card.training_seconds, card.dataset_name) == (3, 12.3, "db")
    assert from_json(ModelCard, to_json(card)) == card


def test_shortcut_checks_as_sentences() -> None:
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
    assert border == (
        "Baseline on image borders only (6% of the width on each side): accuracy 90.0% (95% CI "
        "80.0–100.0), COVID-19 AUROC 0.500 (95% CI 0.400–0.600). "
        "This model (full image): accuracy 95.0% (95% CI 94.0–96.0)."
    )
    assert intensity.startswith("Baseline on 13 intensity statistics only: accuracy 50.0%")
    assert "COVID" not in intensity
    assert within == (
        "Within-source AUROC, rsna, Normal vs Lung opacity: 0.500 (95% CI 0.400–0.600) "
        "(few samples)."
    )
    assert "a vs b within Normal: 0.500 (95% CI 0.400–0.600), chance level 0.5." in probe
    assert without == "COVID-19: not measured (it shares no source)."


def test_names_of_sources_are_not_taken_for_classes() -> None:
    check = ShortcutCheck("within-source", "COVID-19-set: COVID vs NonCOVID", 0, {}, "few")
    (sentence,) = shortcut_sentences(replace(card_for(("a",) * 4), shortcuts=(check,)))
    assert sentence.startswith("COVID-19-set: COVID-19 vs NonCOVID: not measured")


@pytest.mark.parametrize(
    ("accuracy", "meaning"),
    [
        (0.9, "the remaining signal is from outside"),
        (0.2, "signal outside the lungs is not ruled out"),
    ],
)
def test_accuracy_without_the_lungs_is_compared_with_the_largest_class(
    phantom_model_folder: Path, accuracy: float, meaning: str
) -> None:
    # 6 test phantoms of each class, so always predicting one has an accuracy of 25%.
    card = read_card(phantom_model_folder / "phantom-cnn")
    figures = {
        "accuracy": Interval(accuracy, accuracy - 0.05, accuracy + 0.05),
        "lung_area": Interval(0.3, 0.3, 0.3),
    }
    checks = tuple(
        ShortcutCheck(kind, "all", 24, figures) for kind in ("lungs-blackened", "lungs-only")
    )
    blackened, only = shortcut_sentences(replace(card, shortcuts=checks))
    assert f"lungs blackened: {100 * accuracy:.1f}%" in blackened
    assert ": 25%. " in blackened
    assert meaning in blackened
    assert "Mean lung area: 30.0% (95% CI 30.0–30.0)" in only
