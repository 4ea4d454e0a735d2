"""A run's folder: its configuration, its events as JSON lines, its lock and its state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from covidxr.errors import ConfigError, RunError
from covidxr.records import Recipe, SplitPlan
from covidxr.storage import from_json, to_json, write_text

Status = Literal["new", "running", "finished", "failed", "cancelled", "interrupted"]
_TERMINAL: dict[str, Status] = {"finished": "finished", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run was asked to do."""

    recipe: Recipe
    plan: SplitPlan
    data: str
    """Path of the dataset, absolute."""
    init_file: str | None = None
    skip_unreadable: bool = False


class RunFolder:
    """One training run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint"
        self.split = path / "split.csv"
        self.cancel = path / "cancel"
        """While this file exists, the run stops after its next step."""

    def create(self, config: RunConfig) -> None:
        """Write the configuration. Raises RunError when the folder already holds a run."""
        if (self.path / "config.json").exists():
            raise RunError(f"{self.path} already holds a run; go on with `covidxr resume {self.path}`, or choose another folder")
        write_text(self.path / "config.json", to_json(config))

    def config(self) -> RunConfig:
        """Read the configuration. Raises RunError when there is none, or it is damaged."""
        try:
            return from_json(RunConfig, (self.path / "config.json").read_text("utf-8"), "config.json")
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run: it has no config.json") from None
        except ConfigError as error:
            raise RunError(f"the run {self.path} cannot be read: {error}") from error

    def report(self, event: dict[str, Any]) -> None:
        """Append one event, flushed, with the time."""
        stamped = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **event}
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(stamped, allow_nan=False) + "\n")

    def events(self) -> list[dict[str, Any]]:
        """Return the events so far; a last line cut short by a crash is left out."""
        try:
            lines = (self.path / "events.jsonl").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def epochs(self) -> list[dict[str, Any]]:
        """Return the finished epochs' figures, one an epoch: after a resume the later report of an epoch stands."""
        by_epoch = {event["epoch"]: event for event in self.events() if event.get("event") == "epoch"}
        return [by_epoch[epoch] for epoch in sorted(by_epoch)]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the run's lock while working on it. Raises RunError when somebody else does."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / "lock", timeout=0):
                yield
        except Timeout:
            raise RunError(f"the run {self.path} is going on already") from None

    def status(self) -> Status:
        """Return the state of the run: its last terminal event, else whether its lock is held."""
        lock = FileLock(self.path / "lock", timeout=0)
        if (self.path / "lock").exists():
            try:
                with lock:
                    pass
            except Timeout:
                return "running"
        events = self.events()
        if not events:
            return "new"
        return _TERMINAL.get(events[-1].get("event", ""), "interrupted")
