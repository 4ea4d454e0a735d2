"""Processes of runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from covidxr.errors import ConfigError, RunError
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs import launcher
from covidxr.runs.journal import RunConfig, RunFolder, boot_id

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = RunConfig(recipe("poster-cnn"), SplitPlan(), "/data")


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.05)


def test_a_new_run_has_a_new_folder(tmp_path: Path) -> None:
    paths = []
    for _ in range(4):
        run = launcher.new_run(tmp_path, "poster-cnn")
        assert not run.path.exists()
        run.create(CONFIG)
        paths.append(run.path)
    assert len(set(paths)) == 4
    assert all(path.parent == tmp_path and path.name.startswith("poster-cnn-2") for path in paths)


def test_a_run_is_found_by_the_name_of_its_folder_only(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    RunFolder(root / "a").create(CONFIG)
    RunFolder(root / "a" / "b").create(CONFIG)
    RunFolder(tmp_path / "outside").create(CONFIG)
    (root / "file").touch()
    assert launcher.find_run(root, "a").config() == CONFIG
    for name in (
        "..",
        ".",
        "a/b",
        "a/",
        "",
        "unknown",
        "../outside",
        str(tmp_path / "outside"),
        "file",
    ):
        with pytest.raises(RunError, match="there is no run"):
            launcher.find_run(root, name)
    with pytest.raises(RunError, match="there is no run 'a' in"):
        launcher.find_run(tmp_path / "nowhere", "a")


def test_only_runs_are_listed_newest_first(tmp_path: Path) -> None:
    assert launcher.list_runs(tmp_path / "nowhere") == ()
    for name, day in (("a-middle", 2), ("b-newest", 3), ("c-oldest", 1)):
        run = RunFolder(tmp_path / name)
        run.create(CONFIG)
        run.report({"event": "launched", "time": f"2026-01-0{day}T00:00:00+00:00"})
        run.report({"event": "started", "time": f"2026-02-0{4 - day}T00:00:00+00:00"})
    (tmp_path / "only-events").mkdir()
    RunFolder(tmp_path / "only-events").report(
        {"event": "launched", "time": "2025-01-01T00:00:00+00:00"}
    )
    RunFolder(tmp_path / "only-a-config").create(CONFIG)
    RunFolder(tmp_path / "torn").create(CONFIG)
    (tmp_path / "torn" / "events.jsonl").write_bytes(b"\xff\xfe{")
    RunFolder(tmp_path / ".b.deleted").create(CONFIG)
    (tmp_path / "weights").mkdir()
    (tmp_path / "file").touch()
    names = [run.path.name for run in launcher.list_runs(tmp_path)]
    assert names == ["b-newest", "a-middle", "c-oldest", "only-events", "torn", "only-a-config"]


def test_a_command_is_started_and_logged_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package is found from any working folder.
    monkeypatch.chdir(tmp_path)
    run = RunFolder(tmp_path / "my run")
    run.path.mkdir()
    run.log.write_text("an earlier line\n")
    launcher.cancel(run)
    launcher.start(run, ["recipes", "--json"])
    assert not run.cancel.exists()
    (event,) = run.events()
    assert (event["event"], event["boot"], event["command"]) == (
        "launched",
        boot_id(),
        "python -m covidxr recipes --json",
    )
    with pytest.raises(
        RunError, match="the run my run is already running; wait for it, or cancel it"
    ):
        launcher.start(run, ["recipes"])
    until(lambda: run.log.read_text().count("\n") == 3)
    earlier, command, output = run.log.read_text().splitlines()
    assert (earlier, command) == ("an earlier line", "$ python -m covidxr recipes --json")
    assert json.loads(output)["recipes"][0]["name"] == "poster-cnn"


def test_no_command_is_started_on_a_locked_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.hold():
        run.report({"event": "started"})
        for event in ("queued", "started"):
            run.report({"event": event})
            with pytest.raises(RunError, match="is already running"):
                launcher.start(run, ["recipes"])
    assert not run.log.exists()


def test_a_command_returns_its_json_or_raises_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert launcher.ask(["recipes"])["recipes"][0]["name"] == "poster-cnn"
    with pytest.raises(ConfigError, match=r"^there is no recipe 'nope'; there are poster-cnn, "):
        launcher.ask(["train", "--recipe", "nope"])
    (tmp_path / "typer.py").write_text("raise RuntimeError('out of order')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        RunError, match=r"^`python -m covidxr recipes` failed: RuntimeError: out of order$"
    ):
        launcher.ask(["recipes"])


def test_a_run_is_deleted_completely_but_not_while_it_is_running(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(CONFIG)
    run.report({"event": "launched", "boot": boot_id()})
    with pytest.raises(RunError, match="the run run is starting; cancel it first"):
        launcher.delete(run)
    with run.hold():
        run.report({"event": "started"})
        with pytest.raises(RunError, match="is already running"):
            launcher.delete(run)
    assert run.config() == CONFIG
    launcher.delete(run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_started_run_outlives_the_process_that_started_it(phantoms: Path, tmp_path: Path) -> None:
    """The parent's process group is killed, as that of a server when its terminal is closed."""
    run = RunFolder(tmp_path / "run")
    arguments = [
        "train",
        "--data",
        str(phantoms),
        "--recipe",
        "poster-cnn",
        "--epochs",
        "2",
        "--batch-size",
        "16",
    ]
    arguments += ["--run-dir", str(run.path), "--no-store", "--at-once"]
    code = f"""
import time
from pathlib import Path
from covidxr.runs import launcher
from covidxr.runs.journal import RunFolder
launcher.start(RunFolder(Path({str(run.path)!r})), {arguments!r})
print("started", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        os.killpg(parent.pid, signal.SIGKILL)
        assert parent.wait(10) == -signal.SIGKILL
    assert run.status() in ("starting", "running")
    until(lambda: run.status() not in ("starting", "queued", "running"), 120)
    assert run.status() == "finished", run.log_tail(20)
    assert [event["epoch"] for event in run.epochs()] == [1, 2]
