"""Predictions on the splits of a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data
from covidxr.evaluation.predictions import predict_splits
from covidxr.prediction.loading import load_classifier

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_predictions_have_groups_only_with_a_grouped_split(phantoms: Path) -> None:
    from covidxr.records import Protocol, SplitPlan

    model = load_classifier("phantom-cnn")
    expected: dict[Protocol, bool] = {"grouped": True, "stratified": False}
    for protocol, bound in expected.items():
        data = split_data(open_dataset(phantoms), SplitPlan(protocol))
        predictions = predict_splits(model, data, ("test",))
        assert (predictions.groups is not None) == bound
