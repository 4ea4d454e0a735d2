"""Folders of runs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from covidxr.errors import RunError
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs.journal import Label, RunConfig, RunFolder, boot_id

CONFIG = RunConfig(recipe("poster-cnn"), SplitPlan(), "/data")


def test_a_configuration_is_read_back_and_never_overwritten(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(CONFIG)
    assert run.config() == CONFIG
    with pytest.raises(RunError, match="already holds a run; continue it with `covidxr resume"):
        run.create(CONFIG)


def test_a_folder_without_a_run_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run: it has no config.json"):
        RunFolder(tmp_path).config()
    (tmp_path / "config.json").write_text('{"recipe": 3}')
    with pytest.raises(RunError, match=r"cannot be read: config.json"):
        RunFolder(tmp_path).config()


def test_events_are_read_despite_a_truncated_line(tmp_path: Path) -> None:
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
        with pytest.raises(RunError, match="is already running"), run.hold():
            pass
    assert run.status() == "interrupted"
    for event in ("cancelled", "failed", "finished"):
        run.report({"event": event})
        assert run.status() == event


def test_a_killed_run_is_interrupted_although_its_pid_still_exists(tmp_path: Path) -> None:
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
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    run = RunFolder(tmp_path)
    assert run.status() == "running"
    child.kill()
    # The kernel releases the lock although the child is a zombie.
    with FileLock(tmp_path / "lock", timeout=10):
        pass
    assert run.status() == "interrupted"
    child.wait()
    child.stdout.close()


def test_an_event_after_a_truncated_line_starts_a_new_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.report({"event": "started"})
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": "2026-01-01T00:00:00+00:00", "event": "epo')
    run.report({"event": "launched"})
    run.report({"event": "queued", "behind": "other"})
    assert [e["event"] for e in run.events()] == ["started", "launched", "queued"]
    assert (tmp_path / "events.jsonl").read_text().count("\n") == 4


def test_lines_that_are_not_events_are_skipped(tmp_path: Path) -> None:
    now = "2026-01-01T00:00:00+00:00"
    lines = [
        "3",
        "null",
        '["event", "time"]',
        '"event time"',
        '{"event": "epoch"}',
        f'{{"time": "{now}"}}',
        "",
        "\0\0\0",
        "{]",
    ]
    (tmp_path / "events.jsonl").write_text(
        "\n".join([*lines, f'{{"time": "{now}", "event": "started"}}', ""])
    )
    assert RunFolder(tmp_path).events() == [{"time": now, "event": "started"}]


@pytest.mark.parametrize(
    "damage", [b'{"name": "a', b'{"name": 3}', b"[]", b"\xff\xfe\x00", b"", None]
)
def test_a_label_is_read_back_and_a_damaged_one_is_empty(
    tmp_path: Path, damage: bytes | None
) -> None:
    run = RunFolder(tmp_path)
    assert run.label() == Label()
    written = Label("Größerer Versuch", "zweite Zeile\nmit 30 % mehr")
    run.write_label(written)
    assert run.label() == written
    if damage is None:
        (tmp_path / "label.json").unlink()
    else:
        (tmp_path / "label.json").write_bytes(damage)
    assert run.label() == Label()


def test_the_log_tail_shows_the_last_state_of_progress_bars(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.log_tail(5) == ""
    run.log.write_bytes(
        b"$ python -m covidxr train\r\n\repoch 1:  10%\repoch 1: 100%\n"
        b"a warning\n\repoch 2:  10%\repoch 2:  40%\r"
    )
    assert run.log_tail(9) == "$ python -m covidxr train\nepoch 1: 100%\na warning\nepoch 2:  40%"
    run.log.write_bytes(
        b"x" * 100_000 + b"\n" + "größer\n".encode() * 20_000 + b"one\ntwo\nthree\n"
    )
    assert run.log_tail(3) == "one\ntwo\nthree"
    assert set(run.log_tail(50_000).split("\n")[1:-3]) == {"größer"}


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_the_log_tail_has_the_requested_lines_with_any_ending(tmp_path: Path, end: str) -> None:
    run = RunFolder(tmp_path)
    run.log.write_text("one\ntwo\nthree\nfour" + end)
    assert run.log_tail(2) == "three\nfour"


def test_a_launched_run_is_starting_for_a_minute_and_then_interrupted(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.report({"event": "launched", "boot": boot_id()})
    assert run.state()[:2] == ("starting", "")
    long_ago = (datetime.now(UTC) - timedelta(minutes=2)).isoformat(timespec="seconds")
    run.report({"event": "launched", "boot": boot_id(), "time": long_ago})
    status, reason = run.state()[:2]
    assert status == "interrupted"
    assert "the process did not start" in reason


def test_a_run_with_its_lock_is_queued_until_it_starts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.hold():
        assert run.status() == "running"
        run.report({"event": "queued", "behind": "other"})
        assert run.state()[:2] == ("queued", "")
        run.report({"event": "started"})
        assert run.state()[:2] == ("running", "")
    run.report({"event": "queued", "behind": "other"})
    assert run.status() == "interrupted"


def test_a_finished_run_stays_finished_when_storing_it_fails(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.report({"event": "finished"})
    run.report({"event": "storing"})
    assert run.status() == "finished"
    run.report({"event": "storing", "reason": "the dataset has gone"})
    assert run.state()[:2] == ("finished", "the dataset has gone")
    run.report({"event": "stored", "model_id": "x"})
    assert run.state()[:2] == ("finished", "")


def test_the_reason_of_an_end_is_the_most_specific_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(name: str, *events: dict[str, str]) -> tuple[str, str]:
        run = RunFolder(tmp_path / name)
        run.path.mkdir()
        for event in events:
            run.report(event)
        return run.state()[:2]

    launched = {"event": "launched", "boot": boot_id()}
    before = {"event": "launched", "boot": "another-start-of-the-machine"}
    started = {"event": "started"}
    killed = "the process ended unexpectedly: it was killed, or memory ran out"
    assert ended("killed", launched, started) == ("interrupted", killed)
    assert ended("restarted", before, started) == (
        "interrupted",
        "the machine was restarted during the run",
    )
    assert ended("killed-after-a-restart", before, started, launched, started) == (
        "interrupted",
        killed,
    )
    assert ended("failed", launched, {"event": "failed", "reason": "no such folder"}) == (
        "failed",
        "no such folder",
    )
    assert ended("told", before, {"event": "interrupted", "reason": "a shutdown"}) == (
        "interrupted",
        "a shutdown",
    )
    assert ended("cancelled", before, {"event": "cancelled"}) == ("cancelled", "")
    monkeypatch.setattr(
        "covidxr.runs.journal.shutil.disk_usage", lambda path: SimpleNamespace(free=3_000_000)
    )
    status, reason = ended("full", launched, started)
    assert status == "interrupted"
    assert reason == "the disk is full (3.0 MB free); free some space, then resume"
    assert (
        ended("full-and-restarted", before, started)[1]
        == "the machine was restarted during the run"
    )


def test_concurrent_status_checks_do_not_make_a_run_look_active(tmp_path: Path) -> None:
    """A status check takes the lock for an instant, as with a page in two tabs."""
    run = RunFolder(tmp_path)
    with run.hold():
        run.report({"event": "finished"})
    seen: set[str] = set()
    end = time.monotonic() + 1

    def check() -> None:
        while time.monotonic() < end:
            seen.add(run.status())
            time.sleep(0.001)

    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"finished"}


def test_a_run_that_ends_during_a_status_check_is_not_interrupted(tmp_path: Path) -> None:
    class Ending(RunFolder):
        """Finishes just after its events were read for the first time."""

        working: ExitStack | None = None

        def events(self) -> list[dict[str, object]]:
            read = super().events()
            if self.working is not None:
                self.report({"event": "finished"})
                self.working.close()
                self.working = None
            return read

    run = Ending(tmp_path)
    run.working = ExitStack()
    run.working.enter_context(run.hold())
    run.report({"event": "started"})
    assert run.status() in ("running", "finished")
    assert run.status() == "finished"
