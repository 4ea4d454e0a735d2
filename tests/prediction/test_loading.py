"""Stored models that are loaded, and those that are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from covidxr.errors import ModelError
from covidxr.models import store
from covidxr.prediction.loading import load_classifier, load_segmenter, verify_models


@pytest.fixture
def root(phantom_model_folder: Path, tmp_path: Path) -> Path:
    """A weights folder that a test may damage."""
    return Path(shutil.copytree(phantom_model_folder, tmp_path / "weights"))


def test_a_flipped_bit_is_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(root))
    file = root / "phantom-cnn" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="sha256"):
        load_classifier("phantom-cnn", root)
    assert "sha256" in str(verify_models()["phantom-cnn"])


@pytest.mark.slow
def test_weights_that_do_not_match_the_card_are_rejected(
    lungs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(lungs_folder / store.LUNGS, tmp_path / store.LUNGS)
    weights = tmp_path / store.LUNGS / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match="do not match its card"):
        load_segmenter(tmp_path)
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path))
    assert "do not match its card" in str(verify_models()[store.LUNGS])
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(lungs_folder))
    assert set(verify_models().values()) == {None}
    with pytest.raises(ModelError, match=r"no lung segmenter in .*covidxr train-lungs"):
        load_segmenter(tmp_path / "nowhere")


@pytest.mark.slow
def test_a_model_is_not_loaded_with_another_segmenter(lungs_folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(lungs_folder, tmp_path / "weights")
    card = tmp_path / "weights" / "lungs-cnn" / "card.json"
    own = store.read_segmenter_card(lungs_folder).weights_sha256
    card.write_text(card.read_text("utf-8").replace(own, "0" * 64), "utf-8")
    with pytest.raises(ModelError, match="another covidxr-lungs"):
        load_classifier("lungs-cnn", tmp_path / "weights")
