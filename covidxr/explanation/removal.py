"""Whether heat maps say what a network uses: what pixels go first, areas under the curves, likeness of maps. Numbers only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from covidxr.records import GreyImage

STEPS = 20
"""Steps from the whole picture to none of it; the curves have one point more."""


def removal_masks(heat: npt.NDArray[np.floating], steps: int = STEPS) -> npt.NDArray[np.bool_]:
    """(steps + 1, S, S) true where a pixel is gone after each step, the hottest first; equals go in the order they stand in.

    Petsiuk et al. 2018, "RISE", section 4.4.
    """
    rank = np.empty(heat.size, dtype=np.int64)
    rank[np.argsort(-heat.ravel(), kind="stable")] = np.arange(heat.size)
    gone = np.rint(np.linspace(0, heat.size, steps + 1)).astype(np.int64)
    return np.asarray(rank.reshape(1, *heat.shape) < gone[:, None, None], dtype=np.bool_)


def deleted(pixels: GreyImage, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """(K, S, S) the picture (S, S) with the masked pixels blackened."""
    return np.where(masks, np.uint8(0), pixels)


def inserted(pixels: GreyImage, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """(K, S, S) the picture (S, S) so blurred that little is left of it, with the masked pixels put back."""
    blurred = gaussian_filter(pixels.astype(np.float32), 0.05 * pixels.shape[0])
    return np.where(masks, pixels, np.rint(blurred).astype(np.uint8))


def areas(curves: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N,) areas under curves (N, K) over equal steps from 0 to 1, by trapezes."""
    return np.asarray(np.trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1), dtype=np.float64)


def likeness(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return Spearman's correlation and the SSIM of two maps (S, S), each scaled by its largest magnitude.

    A map without any differences, such as one of nothing, is correlated 0 with all. Wang et al. 2004, "Image quality assessment",
    eq. 13, with its Gaussian window, over a range of 1, or of 2 when a map has negative parts.
    """
    from skimage.metrics import structural_similarity  # half a second, and only measuring needs it

    a, b = (m / max(float(np.abs(m).max()), 1e-12) for m in (a, b))
    flat = np.ptp(a) == 0 or np.ptp(b) == 0
    correlation = 0.0 if flat else float(spearmanr(a.ravel(), b.ravel()).statistic)
    data_range = 2.0 if min(a.min(), b.min()) < 0 else 1.0
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return correlation, float(structural_similarity(a, b, data_range=data_range, **window))  # type: ignore[no-untyped-call]
