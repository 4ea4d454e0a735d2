"""The metrics of an evaluation."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from covidxr.evaluation.results import evaluate_stored
from covidxr.evaluation.stored import stored_predictions
from covidxr.metrics.calibration import apply_temperature
from tests.helpers import evaluate

pytestmark = pytest.mark.usefixtures("phantom_models")


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


def test_a_prevalence_determines_the_ppv() -> None:
    part = stored_predictions("phantom-cnn")[1].take("test")
    # One that is predicted at least once.
    name = part.class_names[part.y_pred[0]]
    found = evaluate("phantom-cnn", prevalence={name: 0.02})["per_class"][name]
    sensitivity, specificity = (found[key]["estimate"] for key in ("sensitivity", "specificity"))
    positive = sensitivity * 0.02 + (1 - specificity) * 0.98
    assert found["prevalence"] == 0.02
    assert found["ppv_at_prevalence"]["estimate"] == pytest.approx(sensitivity * 0.02 / positive)
