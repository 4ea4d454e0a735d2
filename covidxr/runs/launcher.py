"""Runs as processes of their own: they outlive the page, the browser and the server that started them."""

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
from covidxr.runs.journal import RunFolder, boot_id

_ROOT = Path(covidxr.__file__).resolve().parents[1]
_started: list[subprocess.Popen[bytes]] = []
"""Kept until they have ended, so that none stays a zombie."""


def new_run(root: Path, recipe: str) -> RunFolder:
    """Return a run's folder named after its recipe and the time; nothing is written yet."""
    name = f"{recipe}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = root / name, 2
    while path.exists():
        path, number = root / f"{name}-{number}", number + 1
    return RunFolder(path)


def find_run(root: Path, run_id: str) -> RunFolder:
    """Return the run of a name. Raises RunError for a name that is no folder right below `root`."""
    if run_id not in {path.name for path in _folders(root)}:
        raise RunError(f"there is no run {run_id!r} in {root}")
    return RunFolder(root / run_id)


def list_runs(root: Path) -> tuple[RunFolder, ...]:
    """Return the runs below a folder, the newest first."""
    folders = [
        path
        for path in _folders(root)
        if (path / "config.json").exists() or (path / "events.jsonl").exists()
    ]
    return tuple(RunFolder(path) for path in sorted(folders, key=_made, reverse=True))


def _folders(root: Path) -> list[Path]:
    return (
        [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        if root.is_dir()
        else []
    )


def _made(path: Path) -> tuple[str, str]:
    """When the run began, by its first event."""
    try:
        with (path / "events.jsonl").open(encoding="utf-8", errors="replace") as file:
            return str(json.loads(file.readline())["time"]), path.name
    except (OSError, ValueError, KeyError, TypeError):
        return "", path.name


def command_line(arguments: Sequence[str]) -> str:
    """Write a command of the package as it would be typed."""
    return shlex.join(["python", "-m", "covidxr", *arguments])


def start(run: RunFolder, arguments: Sequence[str]) -> None:
    """Start a command of the package on a run, in a session of its own, its output at the end of the run's log.

    Raises RunError when the run is going on already, or the process cannot be started.
    """
    if run.status() in ("starting", "queued", "running"):
        raise RunError(f"the run {run.path.name} is going on already")
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
        run.report({"event": "failed", "reason": f"its process could not be started: {error}"})
        raise RunError(f"the run's process could not be started: {error}") from error


def ask(arguments: Sequence[str]) -> dict[str, Any]:
    """Run a command of the package with --json and return its answer. Raises ConfigError with the sentence of its error."""
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
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RunError(
            f"`{command_line(arguments)}` broke off: {(done.stderr.strip() or 'no output').splitlines()[-1]}"
        ) from None
    if "error" in answer:
        raise ConfigError(answer["error"])
    return answer


def cancel(run: RunFolder) -> None:
    """Ask a run to stop; it does so after its next step, and keeps its last checkpoint."""
    run.cancel.touch()


def delete(run: RunFolder) -> None:
    """Remove a run's folder; a model made of it stays. Raises RunError while the run is going on."""
    if run.status() == "starting":
        raise RunError(f"the run {run.path.name} is just starting; cancel it first")
    with run.hold():
        doomed = run.path.with_name(f".{run.path.name}.deleted")
        os.replace(run.path, doomed)
    shutil.rmtree(doomed)


def _environment() -> dict[str, str]:
    """The same, with this package found whatever the working folder."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    }
