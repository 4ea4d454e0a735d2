"""Runs, their publication as models, and the reproduction of the baseline study."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data
from covidxr.errors import DatasetError, ModelError, RunError
from covidxr.models.recipes import STUDY_ACCURACY
from covidxr.prediction.loading import list_models, verify_models
from covidxr.records import SplitFractions, SplitPlan
from covidxr.runs.journal import RunFolder
from covidxr.runs.publish import publish
from covidxr.runs.reproduce import reproduce
from covidxr.runs.train import train

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


@pytest.mark.slow
def test_the_audit_checks_within_one_source_and_between_sources(
    phantoms: Path, tmp_path: Path
) -> None:
    """Half of the Normal phantoms are brightened and attributed to another source."""
    import shutil

    from PIL import Image

    from covidxr.models.recipes import recipe
    from covidxr.runs.journal import RunConfig

    data = shutil.copytree(phantoms, tmp_path / "two-sources")
    rows = (data / "sources.csv").read_text().splitlines()
    for i, row in enumerate(rows):
        file, _, patient = row.partition(",phantom,")
        if file.startswith("Normal") and int(patient.rpartition("-")[2]) % 2:
            rows[i] = f"{file},elsewhere,{patient}"
            image = Image.open(data / file)
            image.point([min(255, 90 + v) for v in range(256)]).save(data / file)
    (data / "sources.csv").write_text("\n".join(rows) + "\n")
    chosen = recipe("poster-cnn").override(epochs=2, batch_size=16, learning_rate=0.03)
    train(
        RunConfig(chosen, SplitPlan(fractions=SplitFractions(0.4, 0.3, 0.3)), str(data)),
        tmp_path / "run",
    )
    card = publish(tmp_path / "run", "audited", tmp_path / "weights")
    (own,) = (entry.card for entry in list_models())
    assert own is not None
    checks = {check.kind: check for check in card.shortcuts}
    assert [check.kind for check in card.shortcuts].count("within-source") == 6
    assert checks["border"].figures["accuracy"].estimate > 0.25
    assert checks["border"].n == checks["intensity"].n == sum(card.class_counts["test"].values())
    assert checks["source-from-features"].subject == "elsewhere vs phantom within Normal"
    without = next(check for check in own.shortcuts if check.kind == "source-from-features")
    assert (without.figures, without.reason) == ({}, "no class has more than one source")


def test_only_a_run_is_published_and_only_once_by_a_name(phantom_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is a model phantom-cnn already"):
        publish(phantom_run, "phantom-cnn")
    with pytest.raises(RunError, match="is not a run"):
        publish(tmp_path, "x")


def test_a_failed_run_reports_the_reason(tmp_path: Path) -> None:
    from covidxr.models.recipes import recipe
    from covidxr.runs.journal import RunConfig

    config = RunConfig(recipe("poster-cnn"), SplitPlan(), str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError):
        train(config, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.status() == "failed"
    assert "there is no folder or zip" in run.events()[-1]["reason"]


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
