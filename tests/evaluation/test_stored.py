"""Metrics of stored predictions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from covidxr.errors import DatasetError
from covidxr.evaluation.results import evaluate_stored
from covidxr.evaluation.stored import compare_stored, stored_predictions
from covidxr.models import store
from covidxr.prediction.loading import load_classifier
from tests.helpers import evaluate

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_stored_and_repeated_predictions_have_the_same_metrics(phantoms: Path) -> None:
    stored = evaluate("phantom-cnn")
    fresh = evaluate("phantom-cnn", phantoms)
    card = load_classifier("phantom-cnn").card
    assert stored["confusion_matrix"] == fresh["confusion_matrix"]
    for name in ("accuracy", "macro_f1", "ece", "brier"):
        assert stored[name] == asdict(card.metrics[name])
        assert fresh[name]["estimate"] == pytest.approx(stored[name]["estimate"], abs=1e-4)
    assert stored["n"] == sum(map(sum, stored["confusion_matrix"])) == 24


def test_another_dataset_is_rejected(tmp_path: Path) -> None:
    from covidxr.datasets.phantoms import write_phantoms

    other = write_phantoms(tmp_path / "other", per_class=20, size=128, seed=9)
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        evaluate("phantom-cnn", other)


def test_a_comparison_has_the_aurocs_of_the_evaluations(
    two_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(two_models))
    card = two_models / "twin" / "card.json"
    text = card.read_text("utf-8")
    temperature = store.read_card(two_models / "twin").temperature
    card.write_text(text.replace(f'"temperature": {temperature!r}', '"temperature": 9.0'), "utf-8")
    try:
        (pair,) = compare_stored(["phantom-cnn", "twin"]).pairs
        shown = [
            evaluate_stored(*stored_predictions(name)).figures for name in ("phantom-cnn", "twin")
        ]
    finally:
        card.write_text(text, "utf-8")
    assert shown[1].temperature == 9.0
    for name, area in pair.auroc.items():
        expected = [evaluation.per_class[name].auroc for evaluation in shown]
        assert [area.auroc_a, area.auroc_b] == pytest.approx([x.estimate for x in expected if x])
