"""The training of the lung segmenter."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.cards import SegmenterRecipe
from covidxr.datasets.opening import open_dataset
from covidxr.errors import DatasetError
from covidxr.lungs.training import train_lungs
from covidxr.models import store
from covidxr.records import SplitPlan

pytestmark = pytest.mark.slow


def test_training_needs_masks(tmp_path: Path, phantoms: Path) -> None:
    import shutil

    shutil.copytree(phantoms, tmp_path / "bare", ignore=shutil.ignore_patterns("masks"))
    with pytest.raises(DatasetError, match="no lung masks in the train split"):
        train_lungs(
            open_dataset(tmp_path / "bare"),
            SegmenterRecipe(epochs=1),
            SplitPlan(),
            tmp_path / "weights",
        )
    assert not (tmp_path / "weights" / store.LUNGS).exists()
