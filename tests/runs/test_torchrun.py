"""Training by two processes under torchrun with gloo, also when one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from covidxr.models.checkpoints import best_of_checkpoint, read_checkpoint
from covidxr.runs import snapshot
from covidxr.runs.journal import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("phantom_models")]
REPOSITORY = Path(__file__).resolve().parents[2]
EPOCHS = 15
RECIPE = [
    "--recipe",
    "poster-cnn",
    "--batch-size",
    "16",
    "--optimizer",
    "adamw",
    "--learning-rate",
    "0.001",
    "--ema-decay",
    "0.9",
]
RECIPE += [
    "--schedule",
    "one-cycle",
    "--class-balance",
    "0.5",
    "--rotation-degrees",
    "5",
    "--horizontal-flip",
    "--contrast",
    "0.1",
]


def begin(
    phantoms: Path, run: RunFolder, *options: str, processes: int = 2, **environment: str
) -> subprocess.Popen[bytes]:
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
        "--max-restarts",
        "1",
    ]
    command = [
        sys.executable,
        *(launcher if processes > 1 else []),
        "-m",
        "covidxr",
        "train",
        "--data",
        str(phantoms),
        *RECIPE,
    ]
    command += ["--run-dir", str(run.path), "--at-once", *options]
    # Without a visible GPU the processes use gloo. One thread each, since there are two cores.
    # A restarted worker must not find old addresses in the store:
    # https://github.com/pytorch/pytorch/issues/135712
    own = {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    with run.path.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, cwd=REPOSITORY, env=os.environ | own | environment
        )


def output(run: RunFolder) -> str:
    return run.path.with_suffix(".log").read_text("utf-8", "replace")[-3000:]


def kinds(run: RunFolder) -> list[str]:
    return [event["event"] for event in run.events()]


def worker(run: RunFolder, rank: int) -> int:
    """Return the process of a rank."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        # It has ended, or belongs to another user.
        except OSError:
            continue
        if str(run.path).encode() in words and f"LOCAL_RANK={rank}".encode() in variables:
            found.append(int(process.name))
    (pid,) = found
    return pid


def test_two_processes_train_the_model_of_one_and_store_it_once(
    phantoms: Path, tmp_path: Path
) -> None:
    """In float32: there the halves of a batch add up to the whole, up to small rounding errors."""
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    weights = tmp_path / "weights"
    float32: dict[str, Any] = {"ONEDNN_MAX_CPU_ISA": "AVX2", "COVIDXR_WEIGHTS": str(weights)}
    epochs = ["--epochs", "6", "--patience", "6"]
    assert begin(phantoms, one, *epochs, "--no-store", processes=1, **float32).wait(200) == 0, (
        output(one)
    )
    assert begin(phantoms, two, *epochs, "--model-id", "two", **float32).wait(200) == 0, output(two)
    assert "bfloat16" not in output(one) + output(two)
    curve = {run.path.name: snapshot.take(run).epochs for run in (one, two)}
    assert len(curve["one"]) == len(curve["two"]) == 6
    for alone, together in zip(curve["one"], curve["two"], strict=True):
        assert together.train_loss == pytest.approx(alone.train_loss, rel=1e-6)
        assert together.val_loss == pytest.approx(alone.val_loss, rel=1e-6)
    assert [path.name for path in weights.iterdir()] == ["two"]
    assert (weights / "two" / "model.safetensors").exists()
    events = [event for event in kinds(two) if event != "steps"]
    assert events == [
        "launched",
        "started",
        "dataset",
        *["epoch"] * 6,
        "finished",
        "storing",
        "stored",
    ]


@pytest.fixture(scope="module")
def whole(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An undisturbed run of two processes."""
    run = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    assert (
        begin(phantoms, run, "--epochs", str(EPOCHS), "--patience", str(EPOCHS), "--no-store").wait(
            300
        )
        == 0
    ), output(run)
    return run


@pytest.mark.parametrize("rank", [0, 1])
def test_a_job_that_loses_a_worker_continues_from_the_last_checkpoint(
    rank: int, phantoms: Path, whole: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    job = begin(phantoms, run, "--epochs", str(EPOCHS), "--patience", str(EPOCHS), "--no-store")
    try:
        while len(run.epochs()) < 3:
            assert job.poll() is None, output(run)
            time.sleep(0.02)
        os.kill(worker(run, rank), signal.SIGKILL)
        assert job.wait(300) == 0, output(run)
    finally:
        if job.poll() is None:
            # torchrun stops its workers too.
            job.terminate()
            job.wait(60)
    assert run.status() == "finished"
    found = kinds(run)
    assert (found.count("started"), found.count("finished")) == (2, 1)
    again = found.index("started", found.index("started") + 1)
    epochs = [event["epoch"] for event in run.events()[again:] if event["event"] == "epoch"]
    # The third was reported, and perhaps not yet written.
    assert 3 <= epochs[0] <= EPOCHS
    assert epochs == list(range(epochs[0], EPOCHS + 1))
    assert snapshot.take(run).epochs[-1] == snapshot.take(whole).epochs[-1]
    for mine, theirs in (
        (best_of_checkpoint(run.checkpoint).weights, best_of_checkpoint(whole.checkpoint).weights),
        (read_checkpoint(run.checkpoint)["network"], read_checkpoint(whole.checkpoint)["network"]),
    ):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
