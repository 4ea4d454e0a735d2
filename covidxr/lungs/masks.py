"""Lungs told from the rest: tidying a mask, reading one, blackening the lungs or all but them."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from covidxr.errors import ImageError
from covidxr.images.radiograph import fit_to_square
from covidxr.models.classifier import WHOLE, Box, View
from covidxr.records import GreyImage

MASK_SIZE = 256
"""Edge of a lung mask, in pixels of the picture padded to a square; the database's own masks have it too."""
LEAST_SHARE = 0.02
"""Of the picture: smaller patches are no pair of lungs."""
_MARGIN = 0.03

LungMask = npt.NDArray[np.bool_]
"""(256, 256) true where a lung is, on the picture padded to a square."""


def tidy_mask(probability: npt.NDArray[np.floating]) -> LungMask:
    """Turn lung probabilities (S, S) in [0, 1] into a mask: a half or more, the two largest patches, their holes filled.

    A second patch less than a tenth of the first is dropped; without patches of 2 % of the picture the mask is empty.
    """
    enlarged = Image.fromarray(probability.astype(np.float32)).resize(
        (MASK_SIZE, MASK_SIZE), Image.Resampling.BILINEAR
    )
    patches, n = ndimage.label(np.asarray(enlarged) >= 0.5)
    areas = np.bincount(patches.ravel(), minlength=n + 1)
    areas[0] = 0
    largest = np.argsort(-areas)[:2]
    kept = [int(patch) for patch in largest if areas[patch] > 0.1 * areas[largest[0]]]
    mask = (
        np.isin(patches, kept)
        if areas[kept].sum() >= LEAST_SHARE * MASK_SIZE**2
        else np.zeros_like(patches, dtype=bool)
    )
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=np.bool_)


def read_mask(content: bytes, name: str) -> LungMask:
    """Decode a mask picture, white where a lung is. Raises ImageError, naming `name`, when it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            return fit_to_square(np.asarray(picture.convert("L")), MASK_SIZE) >= 128
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"cannot read the mask {name}: {error}; masks are PNG files, white where a lung is"
        ) from error


def lung_box(mask: LungMask) -> Box:
    """Return the smallest square about the lungs and 3 % of the picture around them; all of the picture when there are none."""
    if not mask.any():
        return WHOLE
    spans = [
        np.flatnonzero(mask.any(axis=axis))[[0, -1]].tolist() for axis in (0, 1)
    ]  # of columns, then of rows
    side = min(
        max(last - first for first, last in spans) + 1 + 2 * round(_MARGIN * MASK_SIZE), MASK_SIZE
    )
    left, top = (
        min(max((first + last + 1 - side) // 2, 0), MASK_SIZE - side) for first, last in spans
    )
    return left / MASK_SIZE, top / MASK_SIZE, (left + side) / MASK_SIZE, (top + side) / MASK_SIZE


def only_lungs(image: GreyImage, mask: LungMask, size: int) -> View:
    """Blacken all but the lungs of a picture, (H, W), and crop to their box: (size, size), and the box.

    The picture is first reduced to the mask's own size, so that a file of any size gives the same crop as the database's.
    """
    square = np.where(mask, fit_to_square(image, MASK_SIZE), np.uint8(0))
    box = lung_box(mask)
    left, top, right, bottom = (round(edge * MASK_SIZE) for edge in box)
    return View(fit_to_square(square[top:bottom, left:right], size), box)


def resize_mask(mask: LungMask, size: int) -> npt.NDArray[np.bool_]:
    """Return the mask at (size, size)."""
    return np.asarray(fit_to_square(mask.astype(np.uint8) * 255, size) >= 128, dtype=np.bool_)
