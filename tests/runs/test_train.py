"""Runs that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.errors import DatasetError
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.train import train

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_a_failed_run_reports_the_reason(tmp_path: Path) -> None:
    config = RunConfig(recipe("poster-cnn"), SplitPlan(), str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError):
        train(config, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.status() == "failed"
    assert "there is no folder or zip" in run.events()[-1]["reason"]
