"""A run's folder: its configuration, its events as JSON lines, its lock, its state and why it is in it."""

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
from covidxr.records import Recipe, SplitPlan
from covidxr.storage import from_json, to_json, write_text

Status = Literal[
    "new", "starting", "queued", "running", "finished", "failed", "cancelled", "interrupted"
]
# What a run without a living process is after each of its events; a model is made of a finished run only.
_AFTER: dict[str, Status] = {"finished": "finished", "storing": "finished", "stored": "finished"}
_AFTER |= {"failed": "failed", "cancelled": "cancelled"}
_START_SECONDS = 60
"""A process that was launched longer ago and holds no lock did not come up."""
_FULL_BYTES = 50_000_000
_LOG_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run was asked to do."""

    recipe: Recipe
    plan: SplitPlan
    data: str
    """Path of the dataset, absolute."""
    init_file: str | None = None
    skip_unreadable: bool = False
    excluded: tuple[tuple[str, str], ...] = ()
    """Images left out on purpose, each with the reason."""


@dataclass(frozen=True, slots=True)
class Label:
    """What people call a run, and what they noted on it."""

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
        """While this file exists, the run stops after its next step."""

    def create(self, config: RunConfig) -> None:
        """Write the configuration. Raises RunError when the folder already holds a run."""
        if (self.path / "config.json").exists():
            raise RunError(
                f"{self.path} already holds a run; go on with `covidxr resume {self.path}`, or choose another folder"
            )
        write_text(self.path / "config.json", to_json(config))

    def config(self) -> RunConfig:
        """Read the configuration. Raises RunError when there is none, or it is damaged."""
        try:
            return from_json(
                RunConfig, (self.path / "config.json").read_text("utf-8"), "config.json"
            )
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run: it has no config.json") from None
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            raise RunError(f"the run {self.path} cannot be read: {error}") from error

    def report(self, event: dict[str, Any]) -> None:
        """Append one event, flushed, with the time."""
        stamped = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **event}
        with (self.path / "events.jsonl").open("a+b") as file:
            file.seek(max(0, file.tell() - 1))
            broken = file.read(1) not in (
                b"",
                b"\n",
            )  # a crash cut the last line short: the next one must not hang on to it
            file.write(b"\n" * broken + json.dumps(stamped, allow_nan=False).encode() + b"\n")

    def events(self) -> list[dict[str, Any]]:
        """Return the events so far; a last line cut short by a crash is left out."""
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
        """Return the finished epochs' figures, one an epoch: after a resume the later report of an epoch stands."""
        by_epoch = {
            event["epoch"]: event for event in self.events() if event.get("event") == "epoch"
        }
        return [by_epoch[epoch] for epoch in sorted(by_epoch)]

    def label(self) -> Label:
        """Return the name and the note; a damaged file counts as none."""
        try:
            return from_json(Label, (self.path / "label.json").read_text("utf-8"), "label.json")
        except (OSError, UnicodeDecodeError, ConfigError):
            return Label()

    def write_label(self, label: Label) -> None:
        """Name the run and note something on it; its folder keeps its own name, which a process may be using."""
        write_text(self.path / "label.json", to_json(label))

    def log_tail(self, lines: int) -> str:
        """Return the last lines of the log as a terminal would show them: what a progress bar overwrote is gone."""
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
        """Hold the run's lock while working on it. Raises RunError when somebody else does."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            # A moment of patience: whoever asks for the status takes the lock for an instant.
            with FileLock(self.path / "lock", timeout=1):
                yield
        except Timeout:
            raise RunError(f"the run {self.path} is going on already") from None

    def held(self) -> bool:
        """Whether a living process holds the run; a killed one lets go of its lock at once."""
        if not (self.path / "lock").exists():
            return False
        try:
            # Whoever else is looking holds the lock for an instant too; a run holds it for good.
            with FileLock(self.path / "lock", timeout=0.1, poll_interval=0.01):
                return False
        except Timeout:
            return True

    def status(self) -> Status:
        """Return the state of the run: running or queued while its lock is held, else what its last event left it in."""
        return self.state()[0]

    def state(self) -> tuple[Status, str, list[dict[str, Any]]]:
        """Return the state of the run, why it failed, was interrupted or could not become a model, and its events."""
        held = (
            self.held()
        )  # before the events are read: a run that ends in between has written its last one by then
        events = self.events()
        last: dict[str, Any] = events[-1] if events else {}
        kind = last.get("event", "")
        if held:
            return ("queued" if kind == "queued" else "running"), "", events
        if not events:
            return "new", "", events
        if kind == "launched" and _age(last) < _START_SECONDS:
            return "starting", "", events
        status = _AFTER.get(kind, "interrupted")
        return (
            status,
            self._reason(events)
            if status in ("failed", "interrupted") or kind == "storing"
            else "",
            events,
        )

    def _reason(self, events: Sequence[dict[str, Any]]) -> str:
        if events[-1].get("reason"):
            return str(events[-1]["reason"])
        boots = [event["boot"] for event in events if "boot" in event]
        if boots and boots[-1] != boot_id():
            return "the machine was restarted while it was going on"
        if (free := shutil.disk_usage(self.path).free) < _FULL_BYTES:
            return f"the disk is full: {free / 1e6:.0f} MB are free; make room, then resume"
        if events[-1].get("event") == "launched":
            return "its process did not come up; the log says more"
        return "its process ended without a word: it was killed, or the machine ran out of memory"


def boot_id() -> str:
    """Return what Linux renames at every start of the machine; empty elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _age(event: dict[str, Any]) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(event["time"])).total_seconds()
