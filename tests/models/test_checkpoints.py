"""Checkpoints: damaged ones, and their replacement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from covidxr.models.training import TrainingData
from tests.models.test_training import equal, run, small


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(path.read_bytes()[:999]), lambda path: path.unlink()]
)
def test_a_damaged_checkpoint_falls_back_to_the_previous_one(
    data: TrainingData, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    whole, _ = run(small(epochs=3), data, tmp_path / "whole")
    run(small(epochs=2), data, tmp_path)
    damage(tmp_path / "checkpoint")
    resumed, events = run(small(epochs=3), data, tmp_path)
    assert [e["epoch"] for e in events] == [2, 3]
    assert equal(whole, resumed)
