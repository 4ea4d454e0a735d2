"""Exports to TensorBoard, and estimates of cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from covidxr.errors import ConfigError, DatasetError
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs.estimate import estimate
from covidxr.runs.export import export_tensorboard
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.train import train

pytestmark = pytest.mark.usefixtures("phantom_models")

MEASURES = {
    "loss/train": "train_loss",
    "loss/val": "val_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/val": "val_accuracy",
}
MEASURES |= {"macro_f1/val": "val_macro_f1", "images_per_second": "images_per_second"}


def planted(folder: Path, epochs: int) -> RunFolder:
    run = RunFolder(folder)
    run.create(RunConfig(recipe("poster-cnn"), SplitPlan(), "/data"))
    run.report({"event": "started"})
    for epoch in range(1, epochs + 1):
        metrics = {key: 0.1 * i + 0.01 * epoch for i, key in enumerate(MEASURES.values())}
        time = f"2026-01-01T00:{epoch:02d}:00+00:00"
        run.report(
            {
                "event": "epoch",
                "time": time,
                "epoch": epoch,
                "epochs": 9,
                **metrics,
                "best_epoch": 1,
                "seconds": 60.0 * epoch,
            }
        )
    return run


def read_back(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def test_tensorboard_reads_the_metrics_of_the_run(tmp_path: Path) -> None:
    runs = [
        planted(tmp_path / "runs" / name, epochs)
        for name, epochs in (("first", 4), ("second", 2), ("without", 0))
    ]
    # Repeated by a resume.
    runs[0].report({**runs[0].epochs()[-1], "val_loss": 0.77})
    assert export_tensorboard(runs, tmp_path / "board") == {"first": 4, "second": 2, "without": 0}
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == [
        "first",
        "second",
        "without",
    ]
    for run in runs[:2]:
        board = read_back(tmp_path / "board" / run.path.name)
        assert set(board.Tags()["scalars"]) == set(MEASURES)
        for tag, key in MEASURES.items():
            points = board.Scalars(tag)
            assert [point.step for point in points] == [event["epoch"] for event in run.epochs()]
            assert [point.value for point in points] == pytest.approx(
                [event[key] for event in run.epochs()]
            )
            times = [datetime.fromisoformat(event["time"]).timestamp() for event in run.epochs()]
            assert [point.wall_time for point in points] == times
    (text,) = board.Tensors("recipe/text_summary")
    assert b"learning_rate: 0.01" in text.tensor_proto.string_val[0]
    assert read_back(tmp_path / "board" / "first").Scalars("loss/val")[-1].value == pytest.approx(
        0.77
    )


def test_repeated_exports_do_not_duplicate_epochs(tmp_path: Path) -> None:
    run = planted(tmp_path / "run", 2)
    export_tensorboard([run], tmp_path / "board")
    planted_later = {**run.epochs()[-1], "epoch": 3}
    run.report(planted_later)
    assert export_tensorboard([run], tmp_path / "board") == {"run": 3}
    assert [point.step for point in read_back(tmp_path / "board" / "run").Scalars("loss/val")] == [
        1,
        2,
        3,
    ]


@pytest.mark.slow
def test_an_estimate_includes_decoding_unless_the_images_are_cached(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    chosen = recipe("poster-cnn").override(epochs=7, batch_size=16)
    config = RunConfig(chosen, SplitPlan(), str(phantoms))
    folder = tmp_path / "runs" / "not" / "there" / "yet"
    fresh = estimate(config, folder)
    assert (fresh.images, fresh.epochs) == (160, 7)
    assert (
        min(
            fresh.seconds_an_epoch,
            fresh.decode_seconds,
            fresh.run_bytes,
            fresh.free_bytes,
            fresh.cache_free_bytes,
        )
        > 0
    )
    assert fresh.cache_bytes == 160 * (64 * 64 + 128 * 128)
    assert fresh.seconds == pytest.approx(fresh.decode_seconds + 7 * fresh.seconds_an_epoch)
    assert fresh.fits
    assert not replace(fresh, free_bytes=fresh.run_bytes).fits
    assert not replace(fresh, cache_free_bytes=fresh.cache_bytes).fits
    assert not (tmp_path / "runs").exists()

    run = train(config, tmp_path / "run", at_once=True)
    decoded = estimate(config, tmp_path)
    assert (decoded.decode_seconds, decoded.cache_bytes) == (0, 0)
    assert decoded.run_bytes == pytest.approx(3 * run.checkpoint.stat().st_size, rel=0.05)
    other_size = estimate(replace(config, recipe=chosen.override(image_size=100)), tmp_path)
    # The thumbnails are cached.
    assert other_size.cache_bytes == 160 * 100 * 100
    assert other_size.decode_seconds > 0


@pytest.mark.slow
def test_an_epoch_takes_about_the_estimated_time(phantoms: Path, tmp_path: Path) -> None:
    config = RunConfig(
        recipe("poster-cnn").override(epochs=6, batch_size=16, rotation_degrees=5.0),
        SplitPlan(),
        str(phantoms),
    )
    # The first in a process loads libraries too.
    estimate(config, tmp_path)
    expected = estimate(config, tmp_path).seconds_an_epoch
    run = train(config, tmp_path / "run", at_once=True)
    assert expected / 5 < run.epochs()[-1]["seconds"] / 6 < expected * 5


@pytest.mark.slow
def test_a_configuration_that_a_run_rejects_has_no_estimate(phantoms: Path, tmp_path: Path) -> None:
    config = RunConfig(recipe("poster-cnn").override(batch_size=128), SplitPlan(), str(phantoms))
    with pytest.raises(
        ConfigError, match=r"batch_size \(128\) must be <= the number of training images \(112\)"
    ):
        estimate(config, tmp_path)
    with pytest.raises(DatasetError, match="there is no folder or zip"):
        estimate(replace(config, data=str(tmp_path / "nowhere")), tmp_path)
    with pytest.raises(ConfigError, match="frozen_stages must be <= 0 for poster_cnn, got 2"):
        estimate(
            replace(config, recipe=recipe("poster-cnn").override(batch_size=16, frozen_stages=2)),
            tmp_path,
        )
