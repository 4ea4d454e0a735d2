"""The lung segmenter on phantoms, whose lungs are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.images.reading import read_image
from covidxr.lungs.masks import read_mask
from covidxr.models import store
from covidxr.prediction.loading import load_segmenter

pytestmark = pytest.mark.slow


def test_lungs_of_phantoms_are_found_and_evaluated(lungs_folder: Path, phantoms: Path) -> None:
    segmenter = load_segmenter(lungs_folder)
    card = segmenter.card
    assert card.metrics["dice"].estimate > 0.9
    assert card.metrics["dice"].low < card.metrics["dice"].estimate < card.metrics["dice"].high
    # Dice by hand, for the worst of them
    file, told = card.worst[0]
    dataset = open_dataset(phantoms)
    (sample,) = (s for s in dataset.samples if s.file == file)
    assert sample.mask is not None
    said, true = (
        segmenter.mask(read_image(dataset.read(file), file)),
        read_mask(dataset.read(sample.mask), "mask"),
    )
    assert 2 * (said & true).sum() / (said.sum() + true.sum()) == pytest.approx(told)
    rows = (lungs_folder / store.LUNGS / "predictions.csv").read_text("utf-8").splitlines()
    assert rows[0] == "sample,split,dice,iou"
    assert len(rows) == 1 + sum(
        n for split in ("val", "test") for n in card.mask_counts[split].values()
    )
    mean = np.mean([float(row.split(",")[2]) for row in rows[1:] if row.split(",")[1] == "test"])
    assert mean == pytest.approx(card.metrics["dice"].estimate, abs=1e-4)
