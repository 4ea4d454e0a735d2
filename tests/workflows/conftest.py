"""The stored phantom model stands for all models."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _phantom_models(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
