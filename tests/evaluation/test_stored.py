"""Metrics of stored predictions."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import check_dataset, split_data
from covidxr.errors import DatasetError
from covidxr.evaluation.predictions import predict_splits
from covidxr.evaluation.results import evaluate_stored
from covidxr.evaluation.stored import compare_stored, stored_predictions
from covidxr.metrics.calibration import apply_temperature
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


def test_an_evaluation_has_all_metrics_of_the_page() -> None:
    card, predictions = stored_predictions("phantom-cnn")
    found = evaluate_stored(card, predictions)
    raw = evaluate_stored(replace(card, temperature=1.0), predictions)
    assert found.uncalibrated == {
        "nll": raw.figures.nll,
        "brier": raw.figures.brier,
        "ece": raw.figures.ece,
    }
    assert {name: metrics.n for name, metrics in found.sources.items()} == {"phantom": 24}
    assert found.sources["phantom"].accuracy == found.figures.accuracy
    part = predictions.take("test")
    score = apply_temperature(part.y_score, card.temperature)
    for k, (name, rules) in enumerate(found.operating_points.items()):
        for rule, point in rules.items():
            threshold = card.operating_points[name][rule].threshold
            if point is not None and point.sensitivity is not None and threshold is not None:
                assert point.sensitivity.estimate == pytest.approx(
                    (score[part.y_true == k, k] >= threshold).mean()
                )
    result = evaluate("phantom-cnn")
    assert result["sources"]["phantom"]["n"] == 24
    assert result["shortcuts"] == [asdict(check) for check in card.shortcuts]


def test_only_the_dataset_of_the_model_is_accepted(phantoms: Path, tmp_path: Path) -> None:
    from covidxr.datasets.phantoms import write_phantoms

    card, _ = stored_predictions("phantom-cnn")
    check_dataset(open_dataset(phantoms), card)
    other = open_dataset(write_phantoms(tmp_path / "other", per_class=4, size=64))
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        check_dataset(other, card)


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


def test_a_prevalence_determines_the_ppv() -> None:
    part = stored_predictions("phantom-cnn")[1].take("test")
    # One that is predicted at least once.
    name = part.class_names[part.y_pred[0]]
    found = evaluate("phantom-cnn", prevalence={name: 0.02})["per_class"][name]
    sensitivity, specificity = (found[key]["estimate"] for key in ("sensitivity", "specificity"))
    positive = sensitivity * 0.02 + (1 - specificity) * 0.98
    assert found["prevalence"] == 0.02
    assert found["ppv_at_prevalence"]["estimate"] == pytest.approx(sensitivity * 0.02 / positive)


def test_predictions_have_groups_only_with_a_grouped_split(phantoms: Path) -> None:
    from covidxr.records import Protocol, SplitPlan

    model = load_classifier("phantom-cnn")
    expected: dict[Protocol, bool] = {"grouped": True, "stratified": False}
    for protocol, bound in expected.items():
        data = split_data(open_dataset(phantoms), SplitPlan(protocol))
        predictions = predict_splits(model, data, ("test",))
        assert (predictions.groups is not None) == bound
