"""The OOD detector of a model trained on phantoms."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from covidxr.datasets.phantoms import render_phantom
from covidxr.errors import ModelError
from covidxr.ood.detector import OodDetector
from covidxr.prediction.loading import load_classifier
from tests.helpers import audit

pytestmark = pytest.mark.slow


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
