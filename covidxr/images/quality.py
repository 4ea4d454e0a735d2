"""Image quality: sharpness, detail and layout of one image, and thresholds for what is unusable.

The thresholds were set by looking at what they flag and at what they barely miss; see
docs/methods.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from covidxr.records import GrayImage

BLACK, WHITE = 5, 250
"""Gray values up to the first count as black, from the second on as white; JPEG shifts them."""
NEARLY_BLACK, NEARLY_WHITE = 30, 230
"""Limits of the mean gray value; of 16,217 images 3 are darker, and the next has 40."""
MIN_DETAIL = 2.4
MIN_SHARPNESS = 0.6
MAX_WHITE_MIDDLE, MAX_BLACK_MIDDLE = 0.05, 0.06
INVERTED = -0.35
"""The development copy's three negatives are at -0.70 and below, all other images above -0.23."""
MAX_ASPECT = 2.0
"""Radiographs are 1:1 to 1:1.25; cropped ones of children reach 1:1.8."""
_EDGE = 224
_LAYOUT = 16

Numbers = npt.NDArray[np.float64]


def reduced(image: GrayImage) -> GrayImage:
    """Reduce an image until its long edge is at most 224 pixels, so measures compare across sizes.

    The short edge keeps at least 16 pixels: narrower, it would hold neither text nor detail.
    """
    height, width = image.shape
    scale = min(1.0, _EDGE / max(height, width))
    if scale == 1:
        return image
    size = (max(round(width * scale), 16), max(round(height * scale), 16))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def sharpness(image: GrayImage) -> float:
    """Return the mean squared Laplacian over the mean squared gradient of a `reduced` image.

    It grows with fine detail, whatever the contrast; 1 is usual.
    """
    g = image.astype(np.float32)
    laplacian = 4 * g[1:-1, 1:-1] - g[:-2, 1:-1] - g[2:, 1:-1] - g[1:-1, :-2] - g[1:-1, 2:]
    gradient = float(np.square(np.diff(g, axis=0)).mean() + np.square(np.diff(g, axis=1)).mean())
    return float(np.square(laplacian).mean()) / gradient if gradient > 0 else 0.0


def detail(image: GrayImage) -> float:
    """Return the interquartile range of the fine structure in the center, in gray values.

    Fine structure is what a Gaussian blur by 3 of 64 pixels removes, over the central three
    quarters; quartiles ignore a few letters or wires.
    """
    small = np.asarray(
        Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC), dtype=np.float32
    )
    fine = (small - ndimage.gaussian_filter(small, 3))[8:-8, 8:-8]
    low, high = np.percentile(fine, (25, 75))
    return float(high - low)


def layout(image: GrayImage) -> Numbers:
    """Return an image's 16 x 16 block means, (256,), centered and of unit length; 0 if flat."""
    blocks = np.asarray(
        Image.fromarray(image).resize((_LAYOUT, _LAYOUT), Image.Resampling.BOX), dtype=np.float64
    ).ravel()
    blocks -= blocks.mean()
    return np.asarray(blocks / max(float(np.linalg.norm(blocks)), 1e-12))


def enclosed_black(image: GrayImage) -> float:
    """Return the share of the center that is black and not connected to the edge of the image.

    A black frame, or air beside the body, reaches the edge; a lung clipped to black does not.
    """
    height, width = image.shape
    middle = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    dark = image <= BLACK
    if not dark[middle].any():
        return 0.0
    labels, count = ndimage.label(dark)
    connected = np.zeros(count + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        connected[edge] = True
    connected[0] = True  # what is not dark
    return float((~connected[labels[middle]]).mean())
