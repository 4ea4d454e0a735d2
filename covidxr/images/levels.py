"""The grey values of a picture at the depth of its file, for a reader who sets the window; models see `read_image`'s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.records import GreyImage


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """A picture as levels: `greys[values]` is what `read_image` returns, to the bit.

    A level stands for `slope * level + intercept` in the file's own units; `low` and `high` are in those units.
    """

    values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    """(H, W)"""
    greys: npt.NDArray[np.uint8]
    """(n,) the grey that the file itself asks for, of each level."""
    low: float
    """What is black in the file's window, or white where it is negative."""
    high: float
    span: tuple[float, float]
    """The least and the greatest value that the picture has, in those units."""
    negative: bool = False
    """Whether low values are bright: MONOCHROME1."""
    slope: float = 1.0
    intercept: float = 0.0
    padded: tuple[int, int] | None = None
    """First and last level that only fill the rectangle, and stay black."""


def of_greys(image: GreyImage) -> Levels:
    """Return a picture of 8 bits, (H, W) uint8, as its own levels."""
    return Levels(image, np.arange(256, dtype=np.uint8), 0.0, 255.0, (0.0, 255.0))


def fitting(
    places: npt.NDArray[np.integer], levels: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Return level numbers in the smallest type that holds so many levels."""
    return places.astype(np.uint8) if levels <= 2**8 else places.astype(np.uint16)
