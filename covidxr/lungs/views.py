"""What a model sees of a picture: all of it, or its lungs alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from covidxr.errors import ImageError
from covidxr.images.radiograph import fit_to_square
from covidxr.lungs.masks import WHOLE, Box, only_lungs
from covidxr.lungs.segmenter import segment
from covidxr.models.store import LoadedModel
from covidxr.records import GreyImage


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """`pixels` (S, S) uint8 are what the network is given; `box` says where they lie on the picture padded to a square."""

    pixels: GreyImage
    box: Box


def view_of(model: LoadedModel, image: GreyImage) -> View:
    """Return what a model sees of a picture, (H, W) uint8. Raises ImageError when it sees only lungs and none are found."""
    size = model.card.preprocessing.image_size
    if model.segmenter is None:
        return View(fit_to_square(image, size), WHOLE)
    mask = segment(model.segmenter, image)
    if not mask.any():
        raise ImageError(
            f"no lungs were found in this picture, and {model.card.model_id} sees nothing else; is it a frontal chest radiograph?"
        )
    return View(*only_lungs(image, mask, size))


def place(heat: npt.NDArray[np.float32], box: Box) -> npt.NDArray[np.float32]:
    """Bring a map (S, S) of what lies in `box` back to the whole square, (S, S): resized into the box, zero elsewhere."""
    if box == WHOLE:
        return heat
    size = len(heat)
    left, top, right, bottom = (round(edge * size) for edge in box)
    whole = np.zeros_like(heat)
    resized = Image.fromarray(heat).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    whole[top:bottom, left:right] = np.asarray(resized)
    return whole
