"""Figures from stored predictions are those of the network."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from covidxr import workflows
from covidxr.errors import DatasetError
from covidxr.evaluation.calibration import apply_temperature


def test_stored_predictions_and_a_fresh_look_give_the_same_figures(phantoms: Path) -> None:
    stored = workflows.evaluate_model("phantom-cnn")
    fresh = workflows.evaluate_model("phantom-cnn", phantoms)
    card = workflows.load_model("phantom-cnn").card
    assert stored["confusion_matrix"] == fresh["confusion_matrix"]
    for name in ("accuracy", "macro_f1", "ece", "brier"):
        assert stored[name] == asdict(card.metrics[name])
        assert fresh[name]["estimate"] == pytest.approx(stored[name]["estimate"], abs=1e-4)
    assert stored["n"] == sum(map(sum, stored["confusion_matrix"])) == 24


def test_a_dataset_that_may_hold_training_images_is_refused(tmp_path: Path) -> None:
    from covidxr.data.phantom import write_phantoms

    other = write_phantoms(tmp_path / "other", per_class=20, size=128, seed=9)
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        workflows.evaluate_model("phantom-cnn", other)


def test_an_evaluation_holds_all_that_the_page_shows() -> None:
    card, predictions = workflows.stored_predictions("phantom-cnn")
    found = workflows.evaluate_stored(card, predictions)
    raw = workflows.evaluate_stored(replace(card, temperature=1.0), predictions)
    assert found.uncalibrated == {"nll": raw.figures.nll, "brier": raw.figures.brier, "ece": raw.figures.ece}
    assert {name: figures.n for name, figures in found.sources.items()} == {"phantom": 24}
    assert found.sources["phantom"].accuracy == found.figures.accuracy
    part = predictions.take("test")
    score = apply_temperature(part.y_score, card.temperature)
    for k, (name, rules) in enumerate(found.operating_points.items()):
        for rule, point in rules.items():
            threshold = card.operating_points[name][rule].threshold
            if point is not None and point.sensitivity is not None and threshold is not None:
                assert point.sensitivity.estimate == pytest.approx((score[part.y_true == k, k] >= threshold).mean())
    result = workflows.evaluate_model("phantom-cnn")
    assert result["sources"]["phantom"]["n"] == 24
    assert result["shortcuts"] == [asdict(check) for check in card.shortcuts]


def test_only_the_dataset_that_a_model_was_judged_on_is_taken(phantoms: Path, tmp_path: Path) -> None:
    from covidxr.data.phantom import write_phantoms

    card, _ = workflows.stored_predictions("phantom-cnn")
    workflows.check_dataset(card, workflows.open_dataset(phantoms))
    other = workflows.open_dataset(write_phantoms(tmp_path / "other", per_class=4, size=64))
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was judged on"):
        workflows.check_dataset(card, other)
