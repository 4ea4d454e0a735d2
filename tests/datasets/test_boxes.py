"""Radiologists' boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covidxr.datasets.boxes import BOXES_FILE, box_mask, read_boxes
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.opening import open_dataset
from covidxr.errors import DatasetError

HEADER = "file,x,y,width,height\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    for name in ("Normal", "COVID", "Viral Pneumonia", "Lung_Opacity"):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "images" / f"{name}-1.png").write_bytes(b"")
    return open_dataset(tmp_path)


def test_boxes_are_read_by_file_and_unknown_files_ignored(dataset: Dataset) -> None:
    assert read_boxes(dataset) == {}
    rows = (
        "Lung_Opacity/images/Lung_Opacity-1.png,0.1,0.2,0.3,0.4\n" * 2
        + "Lung_Opacity/images/gone.png,0,0,1,1\n"
    )
    (dataset.path / BOXES_FILE).write_text(HEADER + rows)
    assert read_boxes(dataset) == {
        "Lung_Opacity/images/Lung_Opacity-1.png": ((0.1, 0.2, 0.3, 0.4),) * 2
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,x,y\n", "must have the columns file, x, y, width, height"),
        (HEADER + "a,0.5,0.5,0.6,0.1\n", "line 2: .* got 0.5, 0.5, 0.6, 0.1"),
        (HEADER + "a,0,0,1,1\na,0,0,,1\n", "line 3"),
        (HEADER + "a,0,0,0,1\n", "line 2"),
        (HEADER + "a,nan,0,1,1\n", "line 2"),
    ],
)
def test_a_damaged_table_is_named_by_its_line(dataset: Dataset, text: str, sentence: str) -> None:
    (dataset.path / BOXES_FILE).write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        read_boxes(dataset)


def test_a_box_on_a_tall_image_is_placed_on_its_padded_square() -> None:
    """A 4 x 2 image fills the middle two of four columns; its lower right is rows 2-3, column 2."""
    expected = np.zeros((4, 4), dtype=bool)
    expected[2:, 2] = True
    assert np.array_equal(box_mask([(0.5, 0.5, 0.5, 0.5)], (4, 2), 4), expected)
    assert np.array_equal(box_mask([(0, 0, 1, 1)], (4, 2), 8).any(axis=0), [0, 0, 1, 1, 1, 1, 0, 0])


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_the_mask_covers_the_box_s_share(x: float, y: float, width: float, height: float) -> None:
    mask = box_mask([(x, y, width, height)], (100, 100), 128)
    assert mask.mean() == pytest.approx(width * height, abs=(width + height) / 128 + 1 / 128**2)


@pytest.mark.data
def test_the_development_copy_has_966_boxes_on_554_images(database: Path) -> None:
    boxes = read_boxes(open_dataset(database))
    assert (len(boxes), sum(map(len, boxes.values()))) == (554, 966)
