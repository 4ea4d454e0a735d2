"""Pixel values at the bit depth of the file, for windowing in the viewer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.records import GrayImage


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """An image as level numbers and the gray value of each level.

    `grays[values]` is exactly the 8-bit image that models get. A level corresponds to
    `slope * level + intercept` in the units of the file, which are also those of `low`, `high` and
    `span`.
    """

    values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    """(H, W) level numbers."""
    grays: npt.NDArray[np.uint8]
    """(n,) gray value of each level, by the window of the file."""
    low: float
    """Lower end of the file's window: black, or white if `negative`."""
    high: float
    """Upper end of the window."""
    span: tuple[float, float]
    """Lowest and highest value of the image."""
    negative: bool = False
    """Whether low values are bright: MONOCHROME1."""
    slope: float = 1.0
    intercept: float = 0.0
    padded: tuple[int, int] | None = None
    """First and last level of padding, which stays black."""


def levels_of_gray(image: GrayImage) -> Levels:
    """Return the levels of an 8-bit image, (H, W) uint8."""
    return Levels(image, np.arange(256, dtype=np.uint8), 0.0, 255.0, (0.0, 255.0))


def fitting(
    places: npt.NDArray[np.integer], levels: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Return level numbers in the smallest type that can hold this many levels."""
    return places.astype(np.uint8) if levels <= 2**8 else places.astype(np.uint16)
