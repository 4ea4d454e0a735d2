"""Radiologists' boxes around opacities, from a dataset's `opacity_boxes.csv`."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from covidxr.datasets.dataset import Dataset
from covidxr.errors import DatasetError

BOXES_FILE = "opacity_boxes.csv"
_COLUMNS = ("file", "x", "y", "width", "height")

OpacityBox = tuple[float, float, float, float]
"""Left, top, width and height in fractions of the image, the origin top left."""


def read_boxes(dataset: Dataset) -> dict[str, tuple[OpacityBox, ...]]:
    """Return the boxes of each file that has some; empty where the dataset has no boxes.

    Raises:
        DatasetError: For a table with other columns, or a box that is not inside its image.
    """
    with dataset.files() as files:
        if BOXES_FILE not in files.list():
            return {}
        text = files.read(BOXES_FILE).decode("utf-8-sig", errors="replace")
    rows = csv.DictReader(io.StringIO(text))
    if not set(_COLUMNS) <= set(rows.fieldnames or ()):
        raise DatasetError(
            f"{BOXES_FILE} must have the columns {', '.join(_COLUMNS)}, got {rows.fieldnames}"
        )
    known = {sample.file for sample in dataset.samples}
    boxes = defaultdict[str, list[OpacityBox]](list)
    for number, row in enumerate(rows, start=2):
        try:
            x, y, width, height = (float(row[name]) for name in _COLUMNS[1:])
        except (TypeError, ValueError):
            x = y = width = height = -1.0
        # Fractions are rounded, so a box may end just beyond the edge.
        if not (min(x, y) >= 0 < min(width, height) and max(x + width, y + height) <= 1.001):
            raise DatasetError(
                f"{BOXES_FILE}, line {number}: x, y, width and height must be fractions of a box "
                f"inside the image, got {', '.join(str(row[name]) for name in _COLUMNS[1:])}; "
                "correct or remove the line"
            )
        if row["file"] in known:
            boxes[row["file"]].append((x, y, width, height))
    return {file: tuple(own) for file, own in boxes.items()}


def box_mask(
    boxes: Sequence[OpacityBox], shape: tuple[int, int], size: int
) -> npt.NDArray[np.bool_]:
    """Return the boxes as a mask of the image padded to a centered square.

    Args:
        boxes: Of one image.
        shape: (height, width) of the image.
        size: Edge of the mask.

    Returns:
        (size, size), true where the center of a pixel is in a box.
    """
    height, width = shape
    edge = max(shape)
    centers = (np.arange(size) + 0.5) / size * edge
    across = (centers - (edge - width) // 2) / width
    down = (centers - (edge - height) // 2) / height
    mask = np.zeros((size, size), dtype=np.bool_)
    for x, y, w, h in boxes:
        rows, columns = (down >= y) & (down < y + h), (across >= x) & (across < x + w)
        mask |= np.outer(rows, columns)
    return mask
