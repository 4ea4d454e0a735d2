"""Whether there is writing in a picture, looked for at every size that letters may have."""

from __future__ import annotations

import numpy as np
from PIL import Image

from covidxr.datasets.audit.facts import count_letters
from covidxr.datasets.audit.findings import MIN_LETTERS
from covidxr.records import GreyImage

WRITING = "There is probably writing in the picture: a name, a date or a mark of the film."
_EDGE, _LARGEST, _TILE, _OVERLAP = 224, 1792, 224, 64
"""Pixels: the long edge at which letters are looked for first, and at which last; a tile's edge, and what two tiles share."""


def has_writing(image: GreyImage) -> bool:
    """Whether a line of letters was found in a picture, (H, W) uint8: a suspicion, for some writing is missed.

    `count_letters` knows letters of 3 to 14 pixels. Here a picture is reduced to 224 pixels, then to twice as many and again, as
    far as it has them, and looked at tile by tile, so that letters of 20 pixels in a picture of 2,000 are found as well: of names
    planted in 16 to 64 pixels more than nine in ten, n = 360. It takes a tenth of a second or two at 2,000 pixels.
    """
    picture, edge = Image.fromarray(image), _EDGE
    while True:
        scale = min(1.0, edge / max(picture.size))
        size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
        small = np.asarray(picture.resize(size, Image.Resampling.BICUBIC) if scale < 1 else picture)
        if any(count_letters(tile) >= MIN_LETTERS for tile in _tiles(small)):
            return True
        if scale == 1 or edge >= _LARGEST:
            return False
        edge *= 2


def _tiles(image: GreyImage) -> list[GreyImage]:
    step = _TILE - _OVERLAP
    tops, lefts = (range(0, max(length - _OVERLAP, 1), step) for length in image.shape)
    return [image[top : top + _TILE, left : left + _TILE] for top in tops for left in lefts]
