from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from covidxr.errors import RunError
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs.journal import RunConfig, RunFolder

CONFIG = RunConfig(recipe("poster-cnn"), SplitPlan(), "/data")


def test_a_configuration_comes_back_and_is_never_overwritten(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(CONFIG)
    assert run.config() == CONFIG
    with pytest.raises(RunError, match="already holds a run; go on with `covidxr resume"):
        run.create(CONFIG)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run: it has no config.json"):
        RunFolder(tmp_path).config()
    (tmp_path / "config.json").write_text('{"recipe": 3}')
    with pytest.raises(RunError, match=r"cannot be read: config.json"):
        RunFolder(tmp_path).config()


def test_events_survive_a_line_cut_short(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.report({"event": "started"})
    for epoch, loss in ((1, 0.9), (2, 0.8), (2, 0.7)):
        run.report({"event": "epoch", "epoch": epoch, "loss": loss})
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "epo')
    assert [e["event"] for e in run.events()] == ["started", "epoch", "epoch", "epoch"]
    assert all("time" in e for e in run.events())
    assert [(e["epoch"], e["loss"]) for e in run.epochs()] == [(1, 0.9), (2, 0.7)]


def test_the_status_follows_events_and_lock(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.status() == "new"
    with run.hold():
        run.report({"event": "started"})
        assert run.status() == "running"
        with pytest.raises(RunError, match="is going on already"), run.hold():
            pass
    assert run.status() == "interrupted"
    for event in ("cancelled", "failed", "finished"):
        run.report({"event": event})
        assert run.status() == event


def test_a_killed_run_is_interrupted_although_its_pid_still_answers(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from covidxr.runs.journal import RunFolder
run = RunFolder(Path({str(tmp_path)!r}))
with run.hold():
    run.report({{"event": "started"}})
    print("held", flush=True)
    time.sleep(60)
"""
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    run = RunFolder(tmp_path)
    assert run.status() == "running"
    child.kill()
    with FileLock(tmp_path / "lock", timeout=10):  # the kernel frees the lock; the child is not waited for yet
        pass
    assert run.status() == "interrupted"
    child.wait()
    child.stdout.close()
