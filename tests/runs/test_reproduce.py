"""The reproduction of the baseline study."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.models.recipes import STUDY_ACCURACY
from covidxr.records import SplitPlan
from covidxr.runs.reproduce import reproduce

pytestmark = pytest.mark.usefixtures("phantom_models")


@pytest.mark.slow
def test_a_reproduction_continues_and_has_both_accuracies(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    save_file(resnet18(num_classes=2).state_dict(), tmp_path / "imagenet.safetensors")
    result = reproduce(
        phantoms, tmp_path / "runs", SplitPlan(), tmp_path / "imagenet.safetensors", epochs=1
    )
    assert {row["recipe"]: row["study_accuracy"] for row in result["models"]} == STUDY_ACCURACY
    assert result["n"] == 24
    assert result["class_counts"] == dict.fromkeys(result["class_counts"], 40)
    monkeypatch.setattr(
        "covidxr.runs.reproduce.train", lambda *_: pytest.fail("all models exist already")
    )
    assert (
        reproduce(
            phantoms, tmp_path / "runs", SplitPlan(), tmp_path / "imagenet.safetensors", epochs=1
        )
        == result
    )
