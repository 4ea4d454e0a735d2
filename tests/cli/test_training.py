"""The commands of runs: train, resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from covidxr.prediction.loading import load_classifier
from tests.cli.conftest import covidxr


@pytest.mark.slow
def test_train_publishes_a_model_that_resume_does_not_train_again(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "weights"))
    words = [
        "train",
        "--data",
        phantoms,
        "--recipe",
        "poster-cnn",
        "--epochs",
        "1",
        "--batch-size",
        "16",
        "--run-dir",
        tmp_path / "run",
    ]
    code, out, err = covidxr(*words, "--learning-rate", "0.02", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["status"], result["model_id"]) == ("finished", "run")
    assert load_classifier("run").card.recipe.learning_rate == 0.02
    code, out, _ = covidxr("resume", tmp_path / "run", "--model-id", "again", "--json")
    assert json.loads(out)["metrics"] == result["metrics"]
    code, out, _ = covidxr(*words, "--model-id", "third", "--json")
    assert code == 2
    assert "already holds a run" in json.loads(out)["error"]
