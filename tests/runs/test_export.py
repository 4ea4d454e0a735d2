"""Exports to TensorBoard."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs.export import export_tensorboard
from covidxr.runs.journal import RunConfig, RunFolder

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
