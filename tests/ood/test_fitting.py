"""Fitting the OOD detector of a model trained on phantoms."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from covidxr.datasets.phantoms import write_phantoms
from covidxr.errors import DatasetError
from covidxr.models import store
from covidxr.prediction.loading import load_classifier
from tests.helpers import audit

pytestmark = pytest.mark.slow


def without_gate(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text("utf-8"))
    (folder / "card.json").write_text(json.dumps({**card, "gate": None}), "utf-8")


def test_a_model_without_a_detector_rejects_nothing_and_the_audit_restores_it(
    phantom_model_folder: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(phantom_model_folder, tmp_path / "w")
    before = store.read_card(tmp_path / "w" / "phantom-cnn").gate
    without_gate(tmp_path / "w" / "phantom-cnn")
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "w"))
    model = load_classifier("phantom-cnn")
    assert model.detector is None
    assert model.predict(np.zeros((64, 64), np.uint8)).rejections == ()
    gate = audit("phantom-cnn", phantoms).gate
    assert before is not None
    halved = {space: limit / 2 for space, limit in before.thresholds.items()}
    assert gate == replace(before, thresholds=halved)  # the fixture's limits are wide


def test_a_detector_is_fitted_on_the_model_s_own_dataset_only(
    phantom_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    with pytest.raises(DatasetError, match="is not the dataset"):
        audit("phantom-cnn", write_phantoms(tmp_path / "p", per_class=10, size=128, seed=9))


def test_a_lung_only_model_has_a_detector(lungs_folder: Path) -> None:
    model = load_classifier("lungs-cnn", lungs_folder)
    assert model.card.gate is not None
    assert model.card.gate.foreign["white noise"][1].estimate == 1
