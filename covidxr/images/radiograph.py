"""A decoded radiograph, and how it is made square for a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from covidxr.errors import ImageError
from covidxr.images.levels import Levels
from covidxr.images.limits import MAX_PIXELS, MIN_EDGE
from covidxr.images.metadata import UnreadElement
from covidxr.records import GrayImage


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """A decoded image file: `image` (H, W) uint8 and what was noticed on the way.

    It contains no patient data: neither the file name nor header values, except the codes of
    modality, view and body part in `rejections` and `warnings`.
    """

    image: GrayImage
    levels: Levels
    """The same pixels at the depth of the file, up to 16 bits, for a reader who sets the window."""
    format: str
    """PNG, JPEG, TIFF or DICOM, by content."""
    bits: int
    """Bits per gray value (or per color channel) in the file."""
    warnings: tuple[str, ...] = ()
    """Sentences for the reader of the result."""
    rejections: tuple[str, ...] = ()
    """Sentences: why the header says that no model may analyze this image."""
    dropped: tuple[UnreadElement, ...] = ()
    """Names of the header and metadata elements that were not read; never their values."""
    sha256: str = ""
    """Of the file's content."""


def check_size(width: int, height: int, name: str) -> None:
    """Check that an image is neither too large nor too small to be a radiograph.

    Args:
        width: In pixels.
        height: In pixels.
        name: Of the file, for the error.

    Raises:
        ImageError: For a size outside the limits.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"cannot read {name}: {width:,} x {height:,} pixels exceed the limit of {MAX_PIXELS:,};"
            " reduce the image first"
        )
    if min(width, height) < MIN_EDGE:
        raise ImageError(
            f"cannot read {name}: {width} x {height} pixels is too small; the short side needs at "
            f"least {MIN_EDGE}"
        )


def padding(height: int, width: int) -> tuple[int, int, int, int]:
    """Return the black border (left, top, right, bottom), in pixels, that makes an image square."""
    edge = max(height, width)
    left, top = (edge - width) // 2, (edge - height) // 2
    return left, top, edge - width - left, edge - height - top


def fit_to_square(image: GrayImage, size: int) -> GrayImage:
    """Pad an image with black to a square, then resize it, bicubic with antialiasing.

    Nothing is cropped and the aspect ratio is kept. Training and serving share this function, so
    they agree bit for bit.

    Args:
        image: (H, W) uint8.
        size: Edge of the result in pixels.

    Returns:
        (size, size) uint8.
    """
    square = Image.fromarray(image)
    if square.width != square.height:
        square = ImageOps.expand(square, padding(*image.shape), fill=0)
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(square, dtype=np.uint8)
