"""Image statistics for the OOD detector: layout, texture and obvious faults."""

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
from covidxr.records import GrayImage

_SIZE = 128
_FLOOR = 1e-3
"""Added to powers before the logarithm; those of a uniform image are zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """An image reduced for comparison."""

    square: GrayImage
    """(128, 128)."""
    shape: tuple[int, int]
    """Height and width of the original."""


def summarize(image: GrayImage) -> Summary:
    """Stretch an image, (H, W) uint8, to 128 x 128 pixels.

    It is not padded, as black padding would dominate its layout.
    """
    square = Image.fromarray(image).resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)
    return Summary(np.asarray(square), (image.shape[0], image.shape[1]))


def describe(summaries: Sequence[Summary]) -> tuple[Numbers, Numbers]:
    """Return the layouts (N, 256), of unit length, and the textures (N, 63) of N images."""
    squares = np.stack([summary.square for summary in summaries])
    return np.stack([layout(square) for square in squares]), measure_textures(squares)


def measure_textures(squares: GrayImage) -> Numbers:
    """Return the log power spectra of images, averaged over orientations.

    Of standardized images under a Hann window: van der Schaaf & van Hateren 1996, "Modelling the
    power spectra of natural images: statistics and information", Vision Research 36:2759.

    Args:
        squares: (N, S, S).

    Returns:
        (N, S / 2 - 1) at 1, 2, ... cycles per image.
    """
    window, averages = _rings(squares.shape[1])
    gray = squares.astype(np.float32)
    gray -= gray.mean(axis=(1, 2), keepdims=True)
    gray /= np.maximum(gray.std(axis=(1, 2), keepdims=True), 1.0)
    spectrum = rfft2(gray * window)
    power = (spectrum.real**2 + spectrum.imag**2).reshape(len(squares), -1)
    return np.asarray(np.log((averages @ power.T).T + _FLOOR), dtype=np.float64)


@functools.cache
def _rings(size: int) -> tuple[npt.NDArray[np.float32], csr_array]:
    """Return a Hann window (S, S), and the matrix that averages a spectrum at each frequency."""
    window = np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)
    frequency = np.hypot(fftfreq(size, 1 / size)[:, None], rfftfreq(size, 1 / size)[None])
    cycles = frequency.astype(np.int64)
    # The spectrum is symmetric and only half of it is there: all but two columns count twice.
    counts = np.full(cycles.shape, 2.0)
    counts[:, [0, -1]] = 1.0
    shares = counts / np.bincount(cycles.ravel(), counts.ravel())[cycles]
    wanted = np.flatnonzero((cycles > 0) & (cycles < size // 2))
    entries = (cycles.ravel()[wanted] - 1, wanted)
    return window, csr_array((shares.ravel()[wanted], entries), shape=(size // 2 - 1, cycles.size))


def obvious_faults(
    summary: Summary, layout: Numbers, usual: Numbers, unusual: bool = False
) -> tuple[str, ...]:
    """Return a sentence for each fault that makes an image unusable, by the audit's thresholds.

    Args:
        summary: Of the image.
        layout: (256,) of the image, as in `describe`.
        usual: (256,) mean of the training images' layouts.
        unusual: Whether the image is far from the training images. Only then is it checked for
            being blank, which is slow; blank images are always far.
    """
    height, width = summary.shape
    brightness = float(summary.square.mean())
    faults = []
    if max(height, width) > MAX_ASPECT * min(height, width):
        faults.append(
            f"Unusual aspect ratio: {width} x {height} px, more than twice as long as wide."
        )
    if not NEARLY_BLACK <= brightness <= NEARLY_WHITE:
        faults.append(f"The image is nearly {'black' if brightness < NEARLY_BLACK else 'white'}.")
    elif unusual and detail(summary.square) < MIN_DETAIL:
        faults.append("The image is blank in the center, where the chest should be.")
    elif float(layout @ usual) < INVERTED * max(float(np.linalg.norm(usual)), 1e-12):
        faults.append("The image is inverted: bones should be bright and lungs dark.")
    return tuple(faults)
