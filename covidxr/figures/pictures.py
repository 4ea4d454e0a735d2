"""Radiographs for the screen, and heat maps laid over them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from plotly.colors import hex_to_rgb, sequential

from covidxr.data.images import padding
from covidxr.records import GreyImage

SCREEN_EDGE = 1024
"""Long edge in pixels beyond which a picture gains nothing on screen."""

_STOPS = np.array([hex_to_rgb(colour) for colour in sequential.Inferno], dtype=np.float64)
_POSITIONS = np.linspace(0, 255, len(_STOPS))
INFERNO: npt.NDArray[np.float32] = np.stack([np.interp(np.arange(256), _POSITIONS, _STOPS[:, c]) for c in range(3)], axis=1).astype(
    np.float32
)
"""(256, 3) colours in 0..255, from nearly black to pale yellow, evenly spaced to the eye."""


def fit_screen(image: GreyImage, edge: int = SCREEN_EDGE) -> GreyImage:
    """Reduce a picture, (H, W) uint8, until its long edge is at most `edge` pixels; a smaller one comes back as it is."""
    height, width = image.shape
    scale = edge / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def heat_overlay(image: GreyImage, heat: npt.NDArray[np.float32], opacity: float) -> npt.NDArray[np.uint8]:
    """Lay a heat map over a picture, (H, W) uint8, and return (H, W, 3) uint8.

    heat: (S, S) in [0, 1], lying on the picture padded to a centred square.  opacity: in [0, 1], that of the hottest places;
    colder ones are clearer in proportion, so that the radiograph stays visible where the map has nothing to say.
    """
    if heat.ndim != 2 or heat.shape[0] != heat.shape[1]:
        raise ValueError(f"expected heat of shape (S, S), got {heat.shape}")
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must lie between 0 and 1, got {opacity}")
    height, width = image.shape
    edge = max(height, width)
    left, top, _, _ = padding(height, width)
    square = Image.fromarray(heat.astype(np.float32)).resize((edge, edge), Image.Resampling.BILINEAR)
    own = np.clip(np.asarray(square)[top : top + height, left : left + width], 0.0, 1.0)  # (H, W)
    alpha = (opacity * own)[..., None]
    colours = INFERNO[np.rint(own * 255).astype(np.uint8)]  # (H, W, 3)
    blend: npt.NDArray[np.float32] = alpha * colours + (1 - alpha) * image[..., None]
    return np.rint(blend).astype(np.uint8)
