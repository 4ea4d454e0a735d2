"""The environment variables of covidxr."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from covidxr.config import VARIABLES, cache_folder, weights_folder

REPOSITORY = Path(__file__).resolve().parents[1]


def test_every_variable_is_in_the_table() -> None:
    used = {
        name
        for folder in ("covidxr", "tests")
        for path in (REPOSITORY / folder).rglob("*.py")
        for name in re.findall(r"\bCOVIDXR_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert used == set(VARIABLES) | {"COVIDXR_DATA"}


def test_folders_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "weights"
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("COVIDXR_WEIGHTS")
    monkeypatch.delenv("COVIDXR_CACHE")
    assert weights_folder() == REPOSITORY / "weights"
    assert "covidxr" in cache_folder().parts
