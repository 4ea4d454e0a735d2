"""The OOD detector of a model trained on phantoms."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from covidxr.datasets.phantoms import render_phantom, write_phantoms
from covidxr.errors import DatasetError, ModelError
from covidxr.models import store
from covidxr.models.inference import predict_scores, scores_and_features
from covidxr.ood.detector import OodDetector
from covidxr.prediction.loading import load_classifier
from tests.helpers import audit

pytestmark = pytest.mark.slow


def without_gate(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text("utf-8"))
    (folder / "card.json").write_text(json.dumps({**card, "gate": None}), "utf-8")


def test_phantoms_pass_and_noise_and_inverted_ones_do_not(
    phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    model = load_classifier("phantom-cnn")
    assert model.card.gate is not None
    fresh = [
        render_phantom("Normal", np.random.default_rng(seed), 128)[0] for seed in range(100, 130)
    ]
    assert sum(not model.predict(image).rejections for image in fresh) == 30
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    assert any("Noise or sharpness" in why for why in model.predict(noise).rejections)
    assert any("inverted" in why for why in model.predict(255 - fresh[0]).rejections)
    gate = model.card.gate
    assert sum(n for n, _ in gate.foreign.values()) > 75
    assert "phantom" not in gate.foreign
    assert gate.altered["inverted"][1].estimate > 0.9
    assert gate.auroc.estimate > 0.95


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


def test_a_detector_that_does_not_match_the_card_is_rejected_and_refitted(
    phantom_model_folder: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(phantom_model_folder, tmp_path / "w")
    file = tmp_path / "w" / "phantom-cnn" / "gate.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="is not the one in its card"):
        load_classifier("phantom-cnn", file.parents[1])
    file.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_classifier("phantom-cnn", file.parents[1])
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "w"))
    audit("phantom-cnn", phantoms)
    assert load_classifier("phantom-cnn").detector is not None


def test_nan_features_are_out_of_distribution(phantom_model_folder: Path) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    assert isinstance(model.detector, OodDetector)
    texture = model.detector.texture
    broken = replace(texture, centre=np.full_like(texture.centre, np.nan))
    image = render_phantom("Normal", np.random.default_rng(0), 128)[0]
    found = replace(model, detector=replace(model.detector, texture=broken)).predict(image)
    assert any("Noise or sharpness" in why for why in found.rejections)


def test_a_detector_is_fitted_on_the_model_s_own_dataset_only(
    phantom_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    with pytest.raises(DatasetError, match="is not the dataset"):
        audit("phantom-cnn", write_phantoms(tmp_path / "p", per_class=10, size=128, seed=9))


def test_one_pass_gives_scores_and_features(phantom_model_folder: Path) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    card, pixels = (
        model.card,
        np.random.default_rng(0).integers(0, 256, (3, 128, 128), dtype=np.uint8),
    )
    rows = np.array([2, 0])
    scores, features = scores_and_features(
        model.network, "fc3.", pixels, rows, card.preprocessing, 1.7
    )
    assert np.array_equal(
        scores, predict_scores(model.network, pixels, rows, card.preprocessing, 1.7)
    )
    assert np.array_equal(features, model.features(pixels, rows))


def test_a_lung_only_model_has_a_detector(lungs_folder: Path) -> None:
    model = load_classifier("lungs-cnn", lungs_folder)
    assert model.card.gate is not None
    assert model.card.gate.foreign["white noise"][1].estimate == 1
