"""The publication of runs as models."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data
from covidxr.errors import ModelError, RunError
from covidxr.prediction.loading import list_models, verify_models
from covidxr.records import SplitPlan
from covidxr.runs.publish import publish

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_a_published_run_has_a_complete_card(phantoms: Path) -> None:
    (entry,) = list_models()
    card = entry.card
    assert card is not None
    assert card.synthetic
    assert card.split == SplitPlan()
    assert (
        card.split_fingerprint == split_data(open_dataset(phantoms), SplitPlan()).split.fingerprint
    )
    assert {"accuracy", "macro_f1", "ece", "brier"} <= set(card.metrics)
    assert all(i.low <= i.estimate <= i.high for i in card.metrics.values())
    assert sum(card.class_counts["test"].values()) == 24
    assert [epoch.epoch for epoch in card.learning_curve] == [1, 2, 3]
    best = max(card.learning_curve, key=lambda epoch: epoch.val_macro_f1)
    assert best.epoch == card.best_epoch
    assert verify_models() == {"phantom-cnn": None}


def test_only_a_run_is_published_and_only_once_by_a_name(phantom_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is a model phantom-cnn already"):
        publish(phantom_run, "phantom-cnn")
    with pytest.raises(RunError, match="is not a run"):
        publish(tmp_path, "x")
