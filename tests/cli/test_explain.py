"""The command explain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from covidxr.cli import app

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_the_command_writes_a_heat_map(phantoms: Path, tmp_path: Path) -> None:
    file = next((phantoms / "COVID" / "images").iterdir())
    words = [
        "explain",
        "phantom-cnn",
        str(file),
        "--out",
        str(tmp_path / "map.png"),
        "--method",
        "hirescam",
        "--target",
        "Normal",
    ]
    found = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert (found["method"], found["target"], found["settings"]["layer"]) == (
        "hirescam",
        "Normal",
        "relu2",
    )
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"
    said = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "has not been measured" in " ".join(said.split())
