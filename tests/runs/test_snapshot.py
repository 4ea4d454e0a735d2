"""Snapshots of runs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from covidxr.cards import EpochMetrics
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs import snapshot
from covidxr.runs.journal import Label, RunConfig, RunFolder
from covidxr.runs.snapshot import Progress

# 4 epochs of batches of 20.
CONFIG = RunConfig(recipe("poster-cnn").override(epochs=4, batch_size=20), SplitPlan(), "/data")


def epoch(number: int, seconds: float, macro_f1: float = 0.5) -> dict[str, Any]:
    metrics = {
        "train_loss": 1.0 / number,
        "train_accuracy": 0.4,
        "val_loss": 1.5,
        "val_accuracy": 0.3,
        "val_macro_f1": macro_f1,
    }
    return {
        "event": "epoch",
        "epoch": number,
        "epochs": 4,
        **metrics,
        "images_per_second": 10.0 * number,
        "seconds": seconds,
    }


def steps(number: int, step: int, speed: float = 100.0, loss: float = 0.9) -> dict[str, Any]:
    return {"event": "steps", "epoch": number, "epochs": 4, "step": step, "steps": 10} | {
        "train_loss": loss,
        "images_per_second": speed,
    }


def planted(folder: Path, *events: dict[str, Any]) -> RunFolder:
    run = RunFolder(folder)
    run.create(CONFIG)
    for event in events:
        run.report(event)
    return run


def test_a_snapshot_has_the_epochs_as_trained_last(tmp_path: Path) -> None:
    run = planted(
        tmp_path / "run",
        {"event": "launched", "time": "2026-01-01T00:00:00+00:00"},
        {"event": "started"},
        steps(1, 1, loss=1.4),
        steps(1, 5, loss=1.3),
        epoch(1, 3.0, 0.2),
        epoch(2, 6.0, 0.9),
        steps(3, 1, loss=0.8),
        {"event": "launched"},
        {"event": "started"},
        epoch(2, 7.0, 0.6),
        epoch(3, 10.0, 0.6),
        epoch(4, 14.0, 0.1),
        {"event": "finished", "best_epoch": 2, "best_macro_f1": 0.6},
        {"event": "storing"},
        {"event": "stored", "model_id": "my-model"},
    )
    run.write_label(Label("My run", "A note"))
    taken = snapshot.take(run)
    assert [(e.epoch, e.val_macro_f1) for e in taken.epochs] == [
        (1, 0.2),
        (2, 0.6),
        (3, 0.6),
        (4, 0.1),
    ]
    assert taken.epochs[1] == EpochMetrics(2, 0.5, 0.4, 1.5, 0.3, 0.6)
    assert taken.best == taken.epochs[1]
    assert taken.steps == ((0.1, 1.4), (0.5, 1.3), (2.1, 0.8))
    assert (taken.seconds, taken.images_per_second, taken.started) == (
        14.0,
        40.0,
        "2026-01-01T00:00:00+00:00",
    )
    assert (taken.run_id, taken.name, taken.label, taken.model_id) == (
        "run",
        "My run",
        Label("My run", "A note"),
        "my-model",
    )
    assert (taken.status, taken.reason, taken.alive, taken.progress) == (
        "finished",
        "",
        False,
        None,
    )
    assert taken.config == CONFIG


def test_steps_repeated_by_a_resume_are_present_once(tmp_path: Path) -> None:
    """They are plotted as one line, which must not run backwards."""
    before = [
        steps(1, 1),
        steps(1, 9),
        epoch(1, 3.0),
        steps(2, 1),
        steps(2, 4, loss=0.8),
        steps(2, 7, loss=0.7),
    ]
    after = [
        {"event": "launched"},
        STARTED,
        steps(2, 1),
        steps(2, 4, loss=0.8),
        steps(2, 6, loss=0.75),
    ]
    positions = [
        position for position, _ in snapshot.take(planted(tmp_path, *before, *after)).steps
    ]
    assert positions == sorted(set(positions))
    assert positions[-1] == 1.6


STARTED = {"event": "started"}
PHASES: dict[str, tuple[list[dict[str, Any]], Progress]] = {
    "launched": ([{"event": "launched"}], Progress("Starting", 0.0)),
    "queued": (
        [{"event": "queued", "behind": "the other"}],
        Progress("Queued behind the other", 0.0),
    ),
    "queued behind an unknown run": (
        [{"event": "queued", "behind": ""}],
        Progress("Queued behind another run", 0.0),
    ),
    "started": ([STARTED], Progress("Reading the dataset", 0.0)),
    "resumed": (
        [epoch(1, 3.0), epoch(2, 6.0), {"event": "launched"}, STARTED],
        Progress("Reading the dataset", 0.5),
    ),
    "decoding": (
        [STARTED, {"event": "decoding", "done": 1200, "total": 21165}],
        Progress("Preparing images (first use only): 1,200 of 21,165", 0.0),
    ),
    "dataset": (
        [STARTED, {"event": "dataset", "n": 160, "skipped": []}],
        Progress("Loading the network", 0.0),
    ),
    # 10 steps of 20 images at 100 images/s: 2 s per epoch; 3.5 epochs remain.
    "first epoch": (
        [STARTED, steps(1, 5)],
        Progress("Epoch 1 of 4, step 5 of 10", 0.125, 1, 100.0, 7.0),
    ),
    # One epoch took 3 s; three remain.
    "after an epoch": (
        [STARTED, steps(1, 5), epoch(1, 3.0)],
        Progress("Epoch 2 of 4", 0.25, 2, 10.0, 9.0),
    ),
    # Two epochs took 8 s, validation included; 1.8 epochs remain.
    "third epoch": (
        [epoch(1, 3.0), epoch(2, 8.0), steps(3, 5, 50.0), steps(3, 2, 60.0)],
        Progress("Epoch 3 of 4, step 2 of 10", 2.2 / 4, 3, 60.0, 1.8 * 4.0),
    ),
    "last epoch": (
        [epoch(1, 3.0), epoch(2, 6.0), epoch(3, 9.0), epoch(4, 12.0)],
        Progress("Finishing", 1.0),
    ),
    "finished": ([epoch(1, 3.0), {"event": "finished"}], Progress("Finishing", 1.0)),
    "storing": (
        [epoch(4, 12.0), {"event": "finished"}, {"event": "storing"}],
        Progress("Evaluating the best epoch on the test set and auditing shortcuts", 1.0),
    ),
}


@pytest.mark.parametrize("phase", PHASES)
def test_the_progress_of_each_phase_equals_that_computed_by_hand(
    tmp_path: Path, phase: str
) -> None:
    events, expected = PHASES[phase]
    run = planted(tmp_path, *events)
    with run.hold():
        found = snapshot.take(run).progress
    assert found is not None
    assert (found.doing, found.epoch, found.images_per_second) == (
        expected.doing,
        expected.epoch,
        expected.images_per_second,
    )
    assert found.share == pytest.approx(expected.share)
    assert found.seconds_left == (
        None if expected.seconds_left is None else pytest.approx(expected.seconds_left)
    )
    assert snapshot.take(run).progress == (Progress("Starting") if phase == "launched" else None)


def test_a_run_without_events_is_starting(tmp_path: Path) -> None:
    """A list of runs may read it between the lock and the first event."""
    run = planted(tmp_path)
    assert (snapshot.take(run).status, snapshot.take(run).progress) == ("new", None)
    with run.hold():
        taken = snapshot.take(run)
    assert (taken.status, taken.started, taken.progress) == ("running", "", Progress("Starting"))


@pytest.mark.parametrize(
    "damage",
    [
        b'{"recipe": {"na',
        b"",
        b"\0" * 500,
        b"[]",
        b"{}",
        b'{"recipe": 3, "plan": {}, "data": "/"}',
        b"\xff\xfe{\x00}\x00",
        None,
    ],
)
@pytest.mark.parametrize("alive", [False, True])
def test_a_damaged_configuration_is_a_reason_not_an_error(
    tmp_path: Path, damage: bytes | None, alive: bool
) -> None:
    run = planted(tmp_path, STARTED, epoch(1, 3.0))
    if damage is None:
        (tmp_path / "config.json").unlink()
    else:
        (tmp_path / "config.json").write_bytes(damage)
    with ExitStack() as stack:
        if alive:
            stack.enter_context(run.hold())
        else:
            run.report({"event": "finished"})
        taken = snapshot.take(run)
    assert taken.config is None
    assert (
        "is not a run: it has no config.json" if damage is None else "cannot be read"
    ) in taken.reason
    assert len(taken.epochs) == 1
    assert (taken.progress is not None) == alive


def test_two_runs_differ_in_the_changed_settings_only(tmp_path: Path) -> None:
    assert snapshot.differences([CONFIG, CONFIG]) == {}
    changed = CONFIG.recipe.override(
        epochs=7, learning_rate=3e-5, horizontal_flip=True, rotation_degrees=10.0, seed=2
    )
    other = replace(
        CONFIG,
        recipe=changed,
        plan=SplitPlan("stratified", 5),
        init_file="/weights",
        skip_unreadable=True,
    )
    assert snapshot.differences([CONFIG, other]) == {
        "Epochs": ("4", "7"),
        "Learning rate": ("0.01", "3e-05"),
        "Horizontal flip": ("False", "True"),
        "Rotation (degrees)": ("0", "10"),
        "Training seed": ("0", "2"),
        "Split": ("grouped", "stratified"),
        "Split seed": ("0", "5"),
        "File of initial weights": ("", "/weights"),
        "Unreadable images": ("stop the run", "skipped"),
    }
    resnet = snapshot.differences(
        [CONFIG, replace(CONFIG, recipe=recipe("covidxr-resnet18"), data="/elsewhere")]
    )
    assert resnet["Recipe"] == ("poster-cnn", "covidxr-resnet18")
    assert resnet["Network"] == ("poster_cnn", "resnet18")
    assert resnet["Dataset"] == ("/data", "/elsewhere")
    assert "Split" not in resnet
