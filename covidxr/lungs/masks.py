"""Lung masks: cleaning, reading, and cropping images to the lungs."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from covidxr.errors import ImageError
from covidxr.images.radiograph import fit_to_square
from covidxr.models.classifier import WHOLE, Box, View
from covidxr.records import GrayImage

MASK_SIZE = 256
"""Edge of a lung mask in pixels, also in the database; the image is padded to a square."""
LEAST_SHARE = 0.02
"""Smallest share of the image that lungs can have."""
_MARGIN = 0.03

LungMask = npt.NDArray[np.bool_]
"""(256, 256) true inside the lungs, on the image padded to a square."""


def tidy_mask(probability: npt.NDArray[np.floating]) -> LungMask:
    """Turn lung probabilities into a mask: at least 0.5, the two largest regions, holes filled.

    A second region smaller than a tenth of the first is dropped; regions of less than 2% of the
    image give an empty mask.

    Args:
        probability: (S, S) in [0, 1].
    """
    enlarged = Image.fromarray(probability.astype(np.float32)).resize(
        (MASK_SIZE, MASK_SIZE), Image.Resampling.BILINEAR
    )
    regions, n = ndimage.label(np.asarray(enlarged) >= 0.5)
    areas = np.bincount(regions.ravel(), minlength=n + 1)
    areas[0] = 0
    largest = np.argsort(-areas)[:2]
    kept = [int(region) for region in largest if areas[region] > 0.1 * areas[largest[0]]]
    if areas[kept].sum() < LEAST_SHARE * MASK_SIZE**2:
        kept = []
    return np.asarray(ndimage.binary_fill_holes(np.isin(regions, kept)), dtype=np.bool_)


def read_mask(content: bytes, name: str) -> LungMask:
    """Decode a mask file.

    Args:
        content: PNG, white inside the lungs.
        name: For the error message.

    Raises:
        ImageError: When it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as stored:
            return fit_to_square(np.asarray(stored.convert("L")), MASK_SIZE) >= 128
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"cannot read the mask {name}: {error}; masks must be PNG files, white inside the lungs"
        ) from error


def lung_box(mask: LungMask) -> Box:
    """Return the smallest square around the lungs with a 3% margin, or the whole image."""
    if not mask.any():
        return WHOLE
    # Of columns, then of rows.
    spans = [np.flatnonzero(mask.any(axis=axis))[[0, -1]].tolist() for axis in (0, 1)]
    extent = max(last - first for first, last in spans) + 1
    side = min(extent + 2 * round(_MARGIN * MASK_SIZE), MASK_SIZE)
    left, top = (
        min(max((first + last + 1 - side) // 2, 0), MASK_SIZE - side) for first, last in spans
    )
    return left / MASK_SIZE, top / MASK_SIZE, (left + side) / MASK_SIZE, (top + side) / MASK_SIZE


def only_lungs(image: GrayImage, mask: LungMask, size: int) -> View:
    """Blacken all but the lungs of an image, (H, W), and crop it to their box, (size, size).

    The image is first reduced to the mask's size, so that its own size does not change the crop.
    """
    square = np.where(mask, fit_to_square(image, MASK_SIZE), np.uint8(0))
    box = lung_box(mask)
    left, top, right, bottom = (round(edge * MASK_SIZE) for edge in box)
    return View(fit_to_square(square[top:bottom, left:right], size), box)


def resize_mask(mask: LungMask, size: int) -> npt.NDArray[np.bool_]:
    """Return the mask at (size, size)."""
    return np.asarray(fit_to_square(mask.astype(np.uint8) * 255, size) >= 128, dtype=np.bool_)
