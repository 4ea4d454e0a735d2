"""Runs that are killed, cancelled, terminated, out of disk space or queued end as undisturbed ones.

Every run is a process of its own, as users start it, and is resumed in this process.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from covidxr.models.checkpoints import best_of_checkpoint, read_checkpoint
from covidxr.models.recipes import RECIPES, recipe
from covidxr.records import Recipe, SplitPlan
from covidxr.runs import launcher, snapshot
from covidxr.runs.export import train_arguments
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.train import resume

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("phantom_models")]
REPOSITORY = Path(__file__).resolve().parents[2]
EPOCHS = 20
KILLED = "the process ended unexpectedly: it was killed, or memory ran out"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread per process: on a busy machine two threads take ten times as long."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(phantoms: Path) -> RunConfig:
    """A few seconds of training with all the state that a resume must restore."""
    chosen = recipe("poster-cnn").override(
        epochs=EPOCHS,
        patience=EPOCHS,
        batch_size=16,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.01,
        schedule="one-cycle",
        ema_decay=0.9,
        label_smoothing=0.1,
        class_balance=0.5,
        rotation_degrees=5.0,
        horizontal_flip=True,
        zoom=0.05,
        shift=0.05,
        contrast=0.1,
    )
    return RunConfig(chosen, SplitPlan(), str(phantoms.resolve()))


@pytest.fixture(scope="module")
def whole(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, float]:
    """An undisturbed run, and its seconds from the first event to the last, decoding included."""
    root = tmp_path_factory.mktemp("whole")
    run = RunFolder(root / "run")
    process = begin(config, run, root / "cache")
    until(lambda: "started" in kinds(run))
    began = time.monotonic()
    assert process.wait(120) == 0, output(run)
    assert len(run.epochs()) == EPOCHS
    return run, time.monotonic() - began


def begin(config: RunConfig, run: RunFolder, cache: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `covidxr train` without a queue."""
    command = [sys.executable, "-m", "covidxr", *train_arguments(config, run.path), "--at-once"]
    environment = os.environ | ({"COVIDXR_CACHE": str(cache)} if cache else {})
    with run.path.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY, env=environment)


def launched(config: RunConfig, run: RunFolder) -> subprocess.Popen[bytes]:
    """Start a run as the page does."""
    launcher.start(run, train_arguments(config, run.path))
    return launcher._started[-1]


def output(run: RunFolder) -> str:
    return run.path.with_suffix(".log").read_text("utf-8", "replace")[-2000:]


def kinds(run: RunFolder) -> list[str]:
    return [event["event"] for event in run.events()]


def until(true: Callable[[], Any], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.02)


def until_queued(run: RunFolder) -> None:
    until(lambda: "queued" in kinds(run))


def assert_equal(run: RunFolder, other: RunFolder) -> None:
    """Assert the same curve, model and training state, bit for bit."""
    assert run.status() == other.status() == "finished"
    # An epoch whose run was killed between the checkpoint and the report has no metrics.
    curve, expected = snapshot.take(run).epochs, snapshot.take(other).epochs
    assert set(curve) <= set(expected)
    assert len(curve) >= EPOCHS - 1
    one, two = best_of_checkpoint(run.checkpoint), best_of_checkpoint(other.checkpoint)
    assert (one.best_epoch, one.best_macro_f1, one.origin) == (
        two.best_epoch,
        two.best_macro_f1,
        two.origin,
    )
    assert_same(one.weights, two.weights, "best")
    mine, theirs = read_checkpoint(run.checkpoint), read_checkpoint(other.checkpoint)
    assert mine["epoch"] == theirs["epoch"]
    for part in ("network", "average", "optimizer", "schedule"):
        assert_same(mine[part], theirs[part], part)


def assert_same(one: Any, other: Any, where: str) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def test_ten_runs_killed_at_random_end_as_an_undisturbed_one(
    config: RunConfig,
    whole: tuple[RunFolder, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has its own cache, so that some are killed while decoding; two run at a time."""
    chance = random.Random(0)
    # Three before the first epoch is completed, the others spread over the run but its end.
    phases_wanted = [
        0,
        0,
        0,
        *(chance.randint(tenth, tenth + 2) for tenth in range(1, EPOCHS - 5, 2)),
    ]
    chance.shuffle(phases_wanted)
    moments = [(phase, chance.random()) for phase in phases_wanted]

    def killed(number: int, moment: tuple[int, float]) -> RunFolder:
        phase, rest = moment
        run = RunFolder(tmp_path / f"run-{number}")
        process = begin(config, run, tmp_path / f"cache-{number}")
        until(
            lambda: (
                ("started" in kinds(run) and len(run.epochs()) >= phase)
                or process.poll() is not None
            )
        )
        time.sleep(rest * whole[1] / EPOCHS)
        process.kill()
        process.wait()
        assert "started" in kinds(run), output(run)
        # Faster than expected.
        if run.status() == "finished":
            return killed(number + 10, (phase // 2, rest))
        return run

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(killed, range(len(moments)), moments))
    phases = sorted(len(run.epochs()) for run in runs)
    assert phases[0] == 0, phases
    assert len(set(phases)) >= 4, phases
    assert phases[-1] < EPOCHS, phases
    for run in runs:
        assert run.state()[:2] == ("interrupted", KILLED)
        monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / run.path.name.replace("run", "cache")))
        before = len(run.epochs())
        resume(run.path, at_once=True)
        again = [event["epoch"] for event in run.events() if event["event"] == "epoch"][before:]
        # No epoch is trained twice, except for one that was reported but not yet written.
        assert min(again, default=EPOCHS) >= before
        assert_equal(run, whole[0])


def test_a_cancelled_run_can_be_resumed(
    config: RunConfig, whole: tuple[RunFolder, float], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    process = launched(config, run)
    until(run.epochs)
    launcher.cancel(run)
    assert process.wait(20) == 0
    assert run.state()[:2] == ("cancelled", "")
    assert 1 <= len(run.epochs()) < EPOCHS
    # An old request does not cancel the resumed run.
    run.cancel.touch()
    resume(run.path, at_once=True)
    assert_equal(run, whole[0])


def test_runs_train_in_turn_and_a_queued_one_is_cancelled_at_once(
    config: RunConfig, tmp_path: Path
) -> None:
    first, second, third = (RunFolder(tmp_path / name) for name in ("first", "second", "third"))
    short = replace(config, recipe=config.recipe.override(epochs=2))
    # On a busy machine the other processes need longer to start than 20 epochs take.
    long = replace(config, recipe=config.recipe.override(epochs=100, patience=100))
    processes = [launched(long, first)]
    until(lambda: "started" in kinds(first))
    for run in (second, third):
        processes.append(launched(short, run))
        until_queued(run)
    assert [run.status() for run in (first, second, third)] == ["running", "queued", "queued"]
    assert [
        event["behind"]
        for run in (second, third)
        for event in run.events()
        if event["event"] == "queued"
    ] == ["first"] * 2
    progress = snapshot.take(second).progress
    assert progress is not None
    assert progress.doing == "Queued behind first"
    launcher.cancel(third)
    until(lambda: third.status() == "cancelled", 10)
    assert "started" not in kinds(third)
    assert (first.status(), second.status()) == ("running", "queued")
    until(lambda: "started" in kinds(second))
    assert kinds(first)[-1] == "finished", first.log_tail(20)
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert [run.status() for run in (first, second, third)] == ["finished", "finished", "cancelled"]
    ended = next(event["time"] for event in first.events() if event["event"] == "finished")
    assert ended <= next(event["time"] for event in second.events() if event["event"] == "started")


def test_a_run_cancelled_while_starting_never_trains(config: RunConfig, tmp_path: Path) -> None:
    """A process takes seconds to start, in which users may change their mind."""
    run = RunFolder(tmp_path / "run")
    process = launched(config, run)
    assert run.status() == "starting"
    launcher.cancel(run)
    try:
        until(lambda: process.poll() is not None or run.epochs())
        assert (kinds(run)[-1], run.epochs()) == ("cancelled", [])
    finally:
        launcher.cancel(run)
        process.wait(60)


def test_a_terminated_run_reports_it_and_can_be_resumed(
    config: RunConfig, whole: tuple[RunFolder, float], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    process = begin(config, run)
    until(run.epochs)
    process.terminate()
    assert process.wait(30) == 2, output(run)
    assert f"was asked to stop; continue it with `covidxr resume {run.path}`" in output(run)
    assert run.state()[:2] == (
        "interrupted",
        "the system asked the process to stop, as on a shutdown",
    )
    resume(run.path, at_once=True)
    assert_equal(run, whole[0])


def test_a_run_with_a_full_disk_can_be_resumed_with_free_space(
    config: RunConfig, whole: tuple[RunFolder, float], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # One checkpoint fits, a second does not.
    mounting = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if (
        os.name != "posix"
        or os.geteuid() != 0
        or subprocess.run(mounting, capture_output=True, check=False).returncode
    ):
        pytest.skip("needs root, to mount a small disk")
    try:
        run = RunFolder(disk / "run")
        process = begin(config, run)
        assert process.wait(120) == 2, output(run)
        assert "the disk is full" in output(run)
        status, reason = run.state()[:2]
        assert (status, kinds(run)[-1]) == ("interrupted", "interrupted")
        assert reason.startswith("the disk is full (")
        assert reason.endswith("free some space, then resume")
        # The second was reported but not stored: it is trained again.
        assert len(run.epochs()) == 2
        # No temporary file remains.
        assert [path.name for path in run.path.glob(".*")] == []
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        resume(run.path, at_once=True)
        assert_equal(run, whole[0])
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def floats(low: float, high: float, **options: Any) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, **options)


SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "init": st.sampled_from(("random", "imagenet")),
    "image_size": st.integers(32, 1024),
    "epochs": st.integers(1, 1000),
    "batch_size": st.integers(2, 4096),
    "optimizer": st.sampled_from(("sgd", "adam", "adamw")),
    "learning_rate": floats(0, 10, exclude_min=True),
    "momentum": floats(0, 1, exclude_max=True),
    "weight_decay": floats(0, 1),
    "schedule": st.sampled_from(("constant", "one-cycle")),
    "label_smoothing": floats(0, 1, exclude_max=True),
    "class_balance": floats(0, 1),
    "ema_decay": floats(0, 1, exclude_max=True),
    "frozen_stages": st.integers(0, 9),
    "patience": st.integers(1, 1000),
    "seed": st.integers(0, 2**63),
    "architecture": st.sampled_from(("poster_cnn", "resnet18", "efficientnet_b0")),
    "rotation_degrees": floats(0, 180),
    "horizontal_flip": st.booleans(),
    "zoom": floats(0, 1, exclude_max=True),
    "shift": floats(0, 1, exclude_max=True),
    "contrast": floats(0, 1, exclude_max=True),
}
CHANGED_RECIPES: st.SearchStrategy[Recipe] = st.builds(
    lambda name, changes: RECIPES[name].override(**changes),
    st.sampled_from(sorted(RECIPES)),
    st.fixed_dictionaries({}, optional=SETTINGS),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chosen=CHANGED_RECIPES,
    protocol=st.sampled_from(("grouped", "stratified")),
    seed=st.integers(0, 2**31),
    with_file=st.booleans(),
    skip_unreadable=st.booleans(),
)
def test_the_arguments_of_a_run_give_its_configuration(
    tmp_path: Path, chosen: Recipe, protocol: Any, seed: int, with_file: bool, skip_unreadable: bool
) -> None:
    weights = tmp_path / "initial weights"
    weights.touch()
    init_file = str(weights) if with_file and chosen.init == "imagenet" else None
    expected = RunConfig(
        chosen, SplitPlan(protocol, seed), str(tmp_path / "the data"), init_file, skip_unreadable
    )
    received: list[tuple[RunConfig, Path, bool]] = []

    def train(config: RunConfig, folder: Path, at_once: bool) -> RunFolder:
        received.append((config, folder, at_once))
        return RunFolder(folder)

    from covidxr.cli import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("covidxr.runs.train.train", train)
        patch.setattr(
            "covidxr.cli.training.new_model_folder",
            lambda *_: pytest.fail("--no-store publishes no model"),
        )
        CliRunner().invoke(
            app, train_arguments(expected, tmp_path / "a run"), catch_exceptions=False
        )
    assert received == [(expected, tmp_path / "a run", False)]
