"""Radiographs for the screen, and heat maps laid over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from plotly.colors import hex_to_rgb, sequential
from scipy.ndimage import binary_erosion

from covidxr.images.radiograph import padding
from covidxr.records import GreyImage

SCREEN_EDGE = 1024
"""Long edge in pixels beyond which a picture gains nothing on screen."""

_STOPS = np.array([hex_to_rgb(colour) for colour in sequential.Inferno], dtype=np.float64)
_POSITIONS = np.linspace(0, 255, len(_STOPS))
INFERNO: npt.NDArray[np.float32] = np.stack(
    [np.interp(np.arange(256), _POSITIONS, _STOPS[:, c]) for c in range(3)], axis=1
).astype(np.float32)
"""(256, 3) colours in 0..255, from nearly black to pale yellow, evenly spaced to the eye."""
BLUES: npt.NDArray[np.float32] = np.linspace((10, 14, 40), (130, 205, 255), 256).astype(np.float32)
"""(256, 3) colours in 0..255 for what speaks against a class, from nearly black to pale blue, a hue that inferno has not."""
LUNG_COLOUR = (86, 180, 233)

Rgb = npt.NDArray[np.uint8]
"""(H, W, 3) red, green and blue in 0..255."""
Rgba = npt.NDArray[np.uint8]
"""(H, W, 4) the same, and how much they cover, 0..255."""


def fit_screen(image: GreyImage, edge: int = SCREEN_EDGE) -> GreyImage:
    """Reduce a picture, (H, W) uint8, until its long edge is at most `edge` pixels; a smaller one comes back as it is."""
    height, width = image.shape
    scale = edge / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def heat_overlay(image: GreyImage, heat: npt.NDArray[np.float32], opacity: float) -> Rgb:
    """Lay a heat map over a picture, (H, W) uint8, and return (H, W, 3) uint8.

    heat: (S, S) in [-1, 1], lying on the picture padded to a centred square; what is below 0 is drawn in blues.
    opacity: in [0, 1], that of the strongest places; weaker ones are clearer in proportion, so that the radiograph stays visible
    where the map has nothing to say.
    """
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must lie between 0 and 1, got {opacity}")
    own = _laid_on(heat, *image.shape)  # (H, W)
    strength = np.abs(own)
    alpha = (opacity * strength)[..., None]
    shades = np.rint(strength * 255).astype(np.uint8)
    colours = np.where(own[..., None] < 0, BLUES[shades], INFERNO[shades])  # (H, W, 3)
    blend: npt.NDArray[np.float32] = alpha * colours + (1 - alpha) * image[..., None]
    return np.rint(blend).astype(np.uint8)


def heat_layer(heat: npt.NDArray[np.float32], height: int, width: int) -> Rgba:
    """Return a heat map as a layer, (H, W, 4) uint8: laid on a picture at an opacity, it gives `heat_overlay`."""
    own = _laid_on(heat, height, width)
    shades = np.rint(np.abs(own) * 255).astype(np.uint8)
    colours = np.where(own[..., None] < 0, BLUES[shades], INFERNO[shades])
    return np.dstack([np.rint(colours).astype(np.uint8), shades])


def contour_layer(heat: npt.NDArray[np.float32], height: int, width: int) -> Rgba:
    """Return the borders of what lies above a quarter, a half and three quarters of a heat map as a layer, (H, W, 4) uint8.

    heat as in `heat_overlay`. The higher the level, the brighter and thicker its line.
    """
    own = _laid_on(heat, height, width)
    layer = np.zeros((height, width, 4), dtype=np.uint8)
    for level, shade, steps in ((0.25, 140, 1), (0.5, 190, 2), (0.75, 255, 3)):
        layer[_border(own >= level, steps * _line(height, width))] = (*INFERNO[shade], 255)
    return layer


def outline_layer(lungs: npt.NDArray[np.bool_], height: int, width: int) -> Rgba:
    """Return the border of the lungs, as in `lung_outline`, as a layer, (H, W, 4) uint8."""
    layer = np.zeros((height, width, 4), dtype=np.uint8)
    layer[_lung_border(lungs, height, width)] = (*LUNG_COLOUR, 255)
    return layer


def layer_size(height: int, width: int, edge: int = SCREEN_EDGE) -> tuple[int, int]:
    """Return the height and width of a layer for a picture: of its shape, the long edge of `edge` pixels."""
    scale = edge / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def lung_outline(picture: npt.NDArray[np.uint8], lungs: npt.NDArray[np.bool_]) -> Rgb:
    """Draw the border of the lungs on a picture, (H, W) or (H, W, 3) uint8.

    lungs: (S, S), lying on the picture padded to a centred square.
    """
    drawn = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture.copy()
    drawn[_lung_border(lungs, *picture.shape[:2])] = LUNG_COLOUR
    return drawn


def opacity_boxes(
    picture: npt.NDArray[np.uint8], boxes: Sequence[tuple[float, float, float, float]]
) -> Rgb:
    """Draw boxes on a picture, (H, W, 3) uint8; boxes: left, top, width and height in fractions of the picture."""
    drawn = Image.fromarray(picture)
    height, width = picture.shape[:2]
    pen = ImageDraw.Draw(drawn)
    for x, y, wide, high in boxes:
        corners = (x * width, y * height, (x + wide) * width - 1, (y + high) * height - 1)
        pen.rectangle(corners, outline="white", width=2 * _line(height, width))
    return np.asarray(drawn)


def on_native_grid(heat: npt.NDArray[np.float32], grid: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return a map (S, S) as the cells of the (rows, columns) that it was computed on, each of one value, scaled as it was."""
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


def _laid_on(heat: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Return the part of a square map that lies on a picture of a size, at that size."""
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
    return _border(_laid_on(lungs.astype(np.float32), height, width) >= 0.5, _line(height, width))


def _line(height: int, width: int) -> int:
    """Return the width of a thin line on a picture, in pixels: about 1/400 of its edge."""
    return max(1, round(max(height, width) / 400))
