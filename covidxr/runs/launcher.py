"""Processes of runs. They outlive the page and the server that started them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import covidxr
from covidxr.errors import ConfigError, RunError
from covidxr.runs.journal import ACTIVE, RunFolder, boot_id

_ROOT = Path(covidxr.__file__).resolve().parents[1]
_started: list[subprocess.Popen[bytes]] = []
"""Kept until they end: otherwise they would remain as zombies."""


def new_run(root: Path, recipe: str) -> RunFolder:
    """Return a folder for a new run, named by its recipe and the time; it is not created."""
    name = f"{recipe}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = root / name, 2
    while path.exists():
        path, number = root / f"{name}-{number}", number + 1
    return RunFolder(path)


def find_run(root: Path, run_id: str) -> RunFolder:
    """Return the run with a name.

    Raises:
        RunError: For a name that is not a folder in `root`.
    """
    if run_id not in {path.name for path in _folders(root)}:
        raise RunError(f"there is no run {run_id!r} in {root}")
    return RunFolder(root / run_id)


def list_runs(root: Path) -> tuple[RunFolder, ...]:
    """Return the runs in a folder, newest first."""
    folders = [
        path
        for path in _folders(root)
        if (path / "config.json").exists() or (path / "events.jsonl").exists()
    ]
    return tuple(RunFolder(path) for path in sorted(folders, key=_start, reverse=True))


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _start(path: Path) -> tuple[str, str]:
    """Return the time of a run's first event, and its name."""
    try:
        with (path / "events.jsonl").open(encoding="utf-8", errors="replace") as file:
            return str(json.loads(file.readline())["time"]), path.name
    except (OSError, ValueError, KeyError, TypeError):
        return "", path.name


def command_line(arguments: Sequence[str]) -> str:
    """Return a command of the package as typed in a shell."""
    return shlex.join(["python", "-m", "covidxr", *arguments])


def start(run: RunFolder, arguments: Sequence[str]) -> None:
    """Start a command of the package on a run, in its own session, with output in the run's log.

    Args:
        run: The run.
        arguments: Of `covidxr`.

    Raises:
        RunError: For a run that is running, or a process that cannot be started.
    """
    if run.status() in ACTIVE:
        raise RunError(f"the run {run.path.name} is already running; wait for it, or cancel it")
    run.path.mkdir(parents=True, exist_ok=True)
    run.cancel.unlink(missing_ok=True)
    run.report({"event": "launched", "boot": boot_id(), "command": command_line(arguments)})
    _started[:] = [process for process in _started if process.poll() is None]
    try:
        with run.log.open("ab") as log:
            log.write(f"$ {command_line(arguments)}\n".encode())
            log.flush()
            _started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "covidxr", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=_environment(),
                )
            )
    except OSError as error:
        reason = f"the process could not be started: {error}"
        run.report({"event": "failed", "reason": reason})
        raise RunError(reason) from error


def ask(arguments: Sequence[str]) -> dict[str, Any]:
    """Run a command of the package with --json and return its result.

    Raises:
        ConfigError: With the error of the command.
        RunError: For a command that fails without a result.
    """
    command = [sys.executable, "-m", "covidxr", *arguments, "--json"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last_line = (done.stderr.strip() or "no output").splitlines()[-1]
        raise RunError(f"`{command_line(arguments)}` failed: {last_line}") from None
    if "error" in result:
        raise ConfigError(result["error"])
    return result


def cancel(run: RunFolder) -> None:
    """Request a run to stop. It stops after the current step and keeps its last checkpoint."""
    run.cancel.touch()


def delete(run: RunFolder) -> None:
    """Delete the folder of a run. A model published from it is kept.

    Raises:
        RunError: For a run that is running.
    """
    if run.status() == "starting":
        raise RunError(f"the run {run.path.name} is starting; cancel it first")
    with run.hold():
        hidden = run.path.with_name(f".{run.path.name}.deleted")
        os.replace(run.path, hidden)
    shutil.rmtree(hidden)


def _environment() -> dict[str, str]:
    """Return the environment, in which this package is found from any working folder."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
