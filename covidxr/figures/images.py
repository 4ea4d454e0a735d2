"""Radiographs for the screen, with heat-map, lung and box overlays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from plotly.colors import hex_to_rgb, sequential
from scipy.ndimage import binary_erosion

from covidxr.images.radiograph import padding
from covidxr.records import GrayImage

SCREEN_EDGE = 1024
"""Longest useful edge of an image on screen, in pixels."""

_STOPS = np.array([hex_to_rgb(color) for color in sequential.Inferno], dtype=np.float64)
_POSITIONS = np.linspace(0, 255, len(_STOPS))
INFERNO: npt.NDArray[np.float32] = np.stack(
    [np.interp(np.arange(256), _POSITIONS, _STOPS[:, c]) for c in range(3)], axis=1
).astype(np.float32)
"""(256, 3) colors in 0..255, from nearly black to pale yellow, perceptually uniform."""
BLUES: npt.NDArray[np.float32] = np.linspace((10, 14, 40), (130, 205, 255), 256).astype(np.float32)
"""(256, 3) colors in 0..255 for evidence against a class, from nearly black to pale blue."""
LUNG_COLOR = (86, 180, 233)

Rgb = npt.NDArray[np.uint8]
"""(H, W, 3) red, green and blue in 0..255."""
Rgba = npt.NDArray[np.uint8]
"""(H, W, 4) the same with opacity in 0..255."""


def fit_screen(image: GrayImage, edge: int = SCREEN_EDGE) -> GrayImage:
    """Reduce an image, (H, W), to a long edge of `edge` pixels; return a smaller one unchanged."""
    height, width = image.shape
    scale = edge / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def heat_overlay(image: GrayImage, heat: npt.NDArray[np.float32], opacity: float) -> Rgb:
    """Blend a heat map over an image.

    Args:
        image: (H, W) uint8.
        heat: (S, S) in [-1, 1], of the image padded to a centered square; negative values are blue.
        opacity: In [0, 1], at the maximum of the heat map; lower values are proportionally more
            transparent, so that the radiograph stays visible.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: heat is not square, or opacity is outside [0, 1].
    """
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must be between 0 and 1, got {opacity}")
    own = _cropped(heat, *image.shape)
    strength = np.abs(own)
    alpha = (opacity * strength)[..., None]
    shades = np.rint(strength * 255).astype(np.uint8)
    colors = np.where(own[..., None] < 0, BLUES[shades], INFERNO[shades])
    blend: npt.NDArray[np.float32] = alpha * colors + (1 - alpha) * image[..., None]
    return np.rint(blend).astype(np.uint8)


def heat_layer(heat: npt.NDArray[np.float32], height: int, width: int) -> Rgba:
    """Return a heat map as a layer, (H, W, 4), which over an image is `heat_overlay`."""
    own = _cropped(heat, height, width)
    shades = np.rint(np.abs(own) * 255).astype(np.uint8)
    colors = np.where(own[..., None] < 0, BLUES[shades], INFERNO[shades])
    return np.dstack([np.rint(colors).astype(np.uint8), shades])


def contour_layer(heat: npt.NDArray[np.float32], height: int, width: int) -> Rgba:
    """Return contours at 25%, 50% and 75% of a heat map's maximum as a layer, (H, W, 4).

    heat is as in `heat_overlay`. Higher contours are brighter and thicker.
    """
    own = _cropped(heat, height, width)
    layer = np.zeros((height, width, 4), dtype=np.uint8)
    for level, shade, steps in ((0.25, 140, 1), (0.5, 190, 2), (0.75, 255, 3)):
        layer[_border(own >= level, steps * _line(height, width))] = (*INFERNO[shade], 255)
    return layer


def outline_layer(lungs: npt.NDArray[np.bool_], height: int, width: int) -> Rgba:
    """Return the lung contour, as in `lung_outline`, as a layer, (H, W, 4)."""
    layer = np.zeros((height, width, 4), dtype=np.uint8)
    layer[_lung_border(lungs, height, width)] = (*LUNG_COLOR, 255)
    return layer


def layer_size(height: int, width: int, edge: int = SCREEN_EDGE) -> tuple[int, int]:
    """Return height and width of a layer: an image's aspect ratio, with a long edge of `edge`."""
    scale = edge / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def lung_outline(image: npt.NDArray[np.uint8], lungs: npt.NDArray[np.bool_]) -> Rgb:
    """Draw the lung contour on an image.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        lungs: (S, S) mask of the image padded to a centered square.
    """
    drawn = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()
    drawn[_lung_border(lungs, *image.shape[:2])] = LUNG_COLOR
    return drawn


def opacity_boxes(
    image: npt.NDArray[np.uint8], boxes: Sequence[tuple[float, float, float, float]]
) -> Rgb:
    """Draw boxes on an image.

    Args:
        image: (H, W, 3) uint8.
        boxes: Left, top, width and height of each, as fractions of the image.
    """
    drawn = Image.fromarray(image)
    height, width = image.shape[:2]
    pen = ImageDraw.Draw(drawn)
    for x, y, wide, high in boxes:
        corners = (x * width, y * height, (x + wide) * width - 1, (y + high) * height - 1)
        pen.rectangle(corners, outline="white", width=2 * _line(height, width))
    return np.asarray(drawn)


def on_native_grid(heat: npt.NDArray[np.float32], grid: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return a heat map (S, S) as uniform cells of its native (rows, columns), same maximum."""
    rows, columns = grid
    cells = (
        Image.fromarray(heat)
        .resize((columns, rows), Image.Resampling.BOX)
        .resize(heat.shape[::-1], Image.Resampling.NEAREST)
    )
    coarse = np.asarray(cells)
    return np.asarray(
        coarse / max(float(np.abs(coarse).max()), 1e-12) * np.abs(heat).max(), dtype=np.float32
    )


def _cropped(heat: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Resize a square heat map to a padded image and crop it to the image, (height, width)."""
    if heat.ndim != 2 or heat.shape[0] != heat.shape[1]:
        raise ValueError(f"expected heat of shape (S, S), got {heat.shape}")
    edge = max(height, width)
    left, top, _, _ = padding(height, width)
    square = Image.fromarray(heat.astype(np.float32)).resize(
        (edge, edge), Image.Resampling.BILINEAR
    )
    own: npt.NDArray[np.float32] = np.clip(
        np.asarray(square)[top : top + height, left : left + width], -1.0, 1.0
    )
    return own


def _border(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    return np.asarray(
        mask & ~binary_erosion(mask, iterations=width, border_value=1), dtype=np.bool_
    )


def _lung_border(lungs: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    return _border(_cropped(lungs.astype(np.float32), height, width) >= 0.5, _line(height, width))


def _line(height: int, width: int) -> int:
    """Return the width of a thin line in pixels, about 1/400 of the long edge."""
    return max(1, round(max(height, width) / 400))
