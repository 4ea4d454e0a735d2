"""The folder of a run: configuration, events as JSON lines, lock, and status with its reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from covidxr.errors import ConfigError, RunError
from covidxr.formatting import data_size
from covidxr.records import Recipe, SplitPlan
from covidxr.storage import from_json, to_json, write_text

Status = Literal[
    "new", "starting", "queued", "running", "finished", "failed", "cancelled", "interrupted"
]
ACTIVE: tuple[Status, ...] = ("starting", "queued", "running")
"""Statuses of a run with a process."""
_STATUS_AFTER: dict[str, Status] = {
    "finished": "finished",
    "storing": "finished",
    "stored": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""By the last event of a run without a process. Only finished runs are published."""
_START_SECONDS = 60
"""A process that holds no lock after this time has not started."""
_FULL_BYTES = 50_000_000
_LOG_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of a run."""

    recipe: Recipe
    plan: SplitPlan
    data: str
    """Path of the dataset, absolute."""
    init_file: str | None = None
    skip_unreadable: bool = False
    excluded: tuple[tuple[str, str], ...] = ()
    """Excluded images, each with the reason."""


@dataclass(frozen=True, slots=True)
class Label:
    """The name and notes that the user gave to a run."""

    name: str = ""
    note: str = ""


class RunFolder:
    """One training run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint"
        self.split = path / "split.csv"
        self.log = path / "log.txt"
        self.cancel = path / "cancel"
        """If this file exists, the run stops after the current step."""

    def create(self, config: RunConfig) -> None:
        """Write the configuration.

        Raises:
            RunError: For a folder that holds a run.
        """
        if (self.path / "config.json").exists():
            raise RunError(
                f"{self.path} already holds a run; continue it with `covidxr resume {self.path}`, "
                "or choose another folder"
            )
        write_text(self.path / "config.json", to_json(config))

    def config(self) -> RunConfig:
        """Read the configuration.

        Raises:
            RunError: For a configuration that is missing or damaged.
        """
        try:
            return from_json(
                RunConfig, (self.path / "config.json").read_text("utf-8"), "config.json"
            )
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run: it has no config.json") from None
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            raise RunError(f"the run {self.path} cannot be read: {error}") from error

    def report(self, event: dict[str, Any]) -> None:
        """Append an event with the time, and flush."""
        stamped = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **event}
        with (self.path / "events.jsonl").open("a+b") as file:
            file.seek(max(0, file.tell() - 1))
            # After a crash in the middle of a line, the event starts a new one.
            broken = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * broken + json.dumps(stamped, allow_nan=False).encode() + b"\n")

    def events(self) -> list[dict[str, Any]]:
        """Return the events; lines cut off by a crash are skipped."""
        try:
            lines = (self.path / "events.jsonl").read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and {"event", "time"} <= set(event):
                events.append(event)
        return events

    def epochs(self) -> list[dict[str, Any]]:
        """Return the events of completed epochs, for a repeated epoch the last one."""
        by_epoch = {
            event["epoch"]: event for event in self.events() if event.get("event") == "epoch"
        }
        return [by_epoch[epoch] for epoch in sorted(by_epoch)]

    def label(self) -> Label:
        """Return the name and note; empty for a missing or damaged file."""
        try:
            return from_json(Label, (self.path / "label.json").read_text("utf-8"), "label.json")
        except (OSError, UnicodeDecodeError, ConfigError):
            return Label()

    def write_label(self, label: Label) -> None:
        """Write the name and note. The folder is not renamed, since a process may use it."""
        write_text(self.path / "label.json", to_json(label))

    def log_tail(self, lines: int) -> str:
        """Return the last lines of the log as in a terminal: progress bars in their last state."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _LOG_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        shown = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
        return "\n".join([line for line in shown if line.strip()][-lines:])

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock of the run for the block.

        Raises:
            RunError: When another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            # Wait a moment: `held` takes the lock for an instant.
            with FileLock(self.path / "lock", timeout=1):
                yield
        except Timeout:
            raise RunError(f"the run {self.path} is already running") from None

    def held(self) -> bool:
        """Whether a process holds the run. A killed process releases its lock at once."""
        if not (self.path / "lock").exists():
            return False
        try:
            # Wait a moment: other calls of `held` take the lock for an instant.
            with FileLock(self.path / "lock", timeout=0.1, poll_interval=0.01):
                return False
        except Timeout:
            return True

    def status(self) -> Status:
        """Return the status: running or queued while the lock is held, else by the last event."""
        return self.state()[0]

    def state(self) -> tuple[Status, str, list[dict[str, Any]]]:
        """Return the status, why the run or its publication failed (or nothing), and the events."""
        # Before the events: a run that ends meanwhile has written its last one then.
        held = self.held()
        events = self.events()
        last: dict[str, Any] = events[-1] if events else {}
        kind = last.get("event", "")
        if held:
            return ("queued" if kind == "queued" else "running"), "", events
        if not events:
            return "new", "", events
        if kind == "launched" and _age(last) < _START_SECONDS:
            return "starting", "", events
        status = _STATUS_AFTER.get(kind, "interrupted")
        unsuccessful = status in ("failed", "interrupted") or kind == "storing"
        return status, self._reason(events) if unsuccessful else "", events

    def _reason(self, events: Sequence[dict[str, Any]]) -> str:
        if events[-1].get("reason"):
            return str(events[-1]["reason"])
        boots = [event["boot"] for event in events if "boot" in event]
        if boots and boots[-1] != boot_id():
            return "the machine was restarted during the run"
        if (free := shutil.disk_usage(self.path).free) < _FULL_BYTES:
            return f"the disk is full ({data_size(free)} free); free some space, then resume"
        if events[-1].get("event") == "launched":
            return "the process did not start; see the log"
        return "the process ended unexpectedly: it was killed, or memory ran out"


def boot_id() -> str:
    """Return the ID of the machine's current start; empty outside Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _age(event: dict[str, Any]) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(event["time"])).total_seconds()
