"""How a picture looks before any network sees it, and what can be said against it: empty, inverted, a stripe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from covidxr.data.audit import INVERTED, MAX_ASPECT, MIN_DETAIL, NEARLY_BLACK, NEARLY_WHITE
from covidxr.data.facts import Numbers, measure_detail, measure_layout
from covidxr.records import GreyImage

_LOOK_SIZE = 128
_FLOOR = 1e-3
"""Added to powers before their logarithm is taken; those of a flat picture are zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a picture looks like in numbers: `layout` (256,) of length 1, where it is bright and where dark; `texture` (63,)."""

    layout: Numbers
    texture: Numbers


def look_of(image: GreyImage) -> Look:
    """Measure a picture, (H, W) uint8, stretched to 128 x 128 pixels.

    Were it padded to a square, as for a network, the black beside it would be what strikes most.
    """
    square = np.asarray(Image.fromarray(image).resize((_LOOK_SIZE, _LOOK_SIZE), Image.Resampling.BICUBIC))
    return Look(measure_layout(square), measure_texture(square))


def measure_texture(square: GreyImage) -> Numbers:
    """Return how coarse and how fine a picture, (S, S) uint8, is: the logarithm of its power at 1 to S / 2 - 1 cycles a side.

    The rotational average of the power spectrum under Hann's window: van der Schaaf & van Hateren 1996, "Modelling the power
    spectra of natural images: statistics and information", Vision Research 36:2759; brightness and contrast are taken out before.
    """
    size = len(square)
    grey = square.astype(np.float64)
    grey = (grey - grey.mean()) / max(float(grey.std()), 1.0)
    power = np.abs(np.fft.fftshift(np.fft.fft2(grey * np.outer(np.hanning(size), np.hanning(size))))) ** 2
    y, x = np.mgrid[-(size // 2) : size - size // 2, -(size // 2) : size - size // 2]
    cycles = np.hypot(x, y).astype(np.int64).ravel()
    averages = np.bincount(cycles, power.ravel()) / np.bincount(cycles)
    return np.asarray(np.log(averages[1 : size // 2] + _FLOOR))


def plain_faults(image: GreyImage, layout: Numbers, usual: Numbers) -> tuple[str, ...]:
    """Return a sentence for each thing that forbids to judge a picture, (H, W) uint8; the thresholds are those of the audit.

    layout: its own, of `look_of`.  usual: (256,) mean of the training pictures' layouts.
    """
    height, width = image.shape
    brightness = float(image.mean())
    faults = []
    if max(height, width) > MAX_ASPECT * min(height, width):
        faults.append(f"It is {width} x {height} pixels: more than twice as long as wide.")
    if not NEARLY_BLACK <= brightness <= NEARLY_WHITE:
        faults.append(f"It is almost {'black' if brightness < NEARLY_BLACK else 'white'}.")
    elif measure_detail(image) < MIN_DETAIL:
        faults.append("It is blank in the middle, where the chest should be.")
    elif float(layout @ usual) < INVERTED * max(float(np.linalg.norm(usual)), 1e-12):
        faults.append("It is inverted: bone should be bright and lung dark.")
    return tuple(faults)
