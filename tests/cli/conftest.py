"""Ways to run a command: in a process of its own for exit codes, else in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from covidxr.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
RUNNER = CliRunner()


def covidxr(*words: object) -> tuple[int, str, str]:
    """Run the command in a process of its own: (exit code, stdout, stderr)."""
    command = [sys.executable, "-m", "covidxr", *map(str, words)]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=dict(os.environ),
        timeout=300,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


def as_json(*words: object) -> dict[str, Any]:
    """Run the command in this process with --json and return its one object."""
    result = RUNNER.invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    return json.loads(result.stdout)  # type: ignore[no-any-return]
