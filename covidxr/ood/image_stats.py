"""How a picture looks before any network sees it, and what can be said against it: empty, inverted, a stripe."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import fftfreq, rfft2, rfftfreq
from scipy.sparse import csr_array

from covidxr.images.quality import (
    INVERTED,
    MAX_ASPECT,
    MIN_DETAIL,
    NEARLY_BLACK,
    NEARLY_WHITE,
    Numbers,
    detail,
    layout,
)
from covidxr.records import GreyImage

_LOOK_SIZE = 128
_FLOOR = 1e-3
"""Added to powers before their logarithm is taken; those of a flat picture are zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """A picture as it is compared with others: `square` (128, 128) uint8, and its height and width before."""

    square: GreyImage
    shape: tuple[int, int]


def summarize(image: GreyImage) -> Summary:
    """Stretch a picture, (H, W) uint8, to 128 x 128 pixels.

    Were it padded to a square, as for a network, the black beside it would be what strikes most.
    """
    square = Image.fromarray(image).resize((_LOOK_SIZE, _LOOK_SIZE), Image.Resampling.BICUBIC)
    return Summary(np.asarray(square), (image.shape[0], image.shape[1]))


def describe(looks: Sequence[Summary]) -> tuple[Numbers, Numbers]:
    """Return of N pictures the layouts (N, 256) of length 1, where they are bright and where dark, and the textures (N, 63)."""
    squares = np.stack([look.square for look in looks])
    return np.stack([layout(square) for square in squares]), measure_textures(squares)


def measure_textures(squares: GreyImage) -> Numbers:
    """Return how coarse and how fine pictures, (N, S, S) uint8, are: the logarithm of their power at 1 to S / 2 - 1 cycles a side.

    The rotational average of the power spectrum under Hann's window: van der Schaaf & van Hateren 1996, "Modelling the power
    spectra of natural images: statistics and information", Vision Research 36:2759; brightness and contrast are taken out before.
    """
    window, averages = _rings(squares.shape[1])
    grey = squares.astype(np.float32)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    grey /= np.maximum(grey.std(axis=(1, 2), keepdims=True), 1.0)
    found = rfft2(grey * window)
    power = (found.real**2 + found.imag**2).reshape(len(squares), -1)
    return np.asarray(np.log((averages @ power.T).T + _FLOOR), dtype=np.float64)


@functools.cache
def _rings(size: int) -> tuple[npt.NDArray[np.float32], csr_array]:
    """Hann's window (S, S), and the matrix that averages half a spectrum (the other mirrors it) at each number of cycles."""
    window = np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)
    cycles = np.hypot(fftfreq(size, 1 / size)[:, None], rfftfreq(size, 1 / size)[None]).astype(
        np.int64
    )
    counts = np.full(cycles.shape, 2.0)
    counts[:, [0, -1]] = 1.0  # their mirror images are in the same column
    shares = counts / np.bincount(cycles.ravel(), counts.ravel())[cycles]
    wanted = np.flatnonzero((cycles > 0) & (cycles < size // 2))
    placed = (cycles.ravel()[wanted] - 1, wanted)
    return window, csr_array((shares.ravel()[wanted], placed), shape=(size // 2 - 1, cycles.size))


def obvious_faults(
    look: Summary, layout: Numbers, usual: Numbers, unusual: bool = False
) -> tuple[str, ...]:
    """Return a sentence for each thing that forbids to judge a picture; the thresholds are those of the audit.

    layout: its own, of `describe`.  usual: (256,) mean of the training pictures' layouts.  unusual: whether it is far from
    them; only then is it asked whether it is blank, which takes as long as all else, and blank pictures are far.
    """
    height, width = look.shape
    brightness = float(look.square.mean())
    faults = []
    if max(height, width) > MAX_ASPECT * min(height, width):
        faults.append(f"It is {width} x {height} pixels: more than twice as long as wide.")
    if not NEARLY_BLACK <= brightness <= NEARLY_WHITE:
        faults.append(f"It is almost {'black' if brightness < NEARLY_BLACK else 'white'}.")
    elif unusual and detail(look.square) < MIN_DETAIL:
        faults.append("It is blank in the middle, where the chest should be.")
    elif float(layout @ usual) < INVERTED * max(float(np.linalg.norm(usual)), 1e-12):
        faults.append("It is inverted: bone should be bright and lung dark.")
    return tuple(faults)
