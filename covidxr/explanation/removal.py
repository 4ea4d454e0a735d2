"""Deletion and insertion of pixels in order of attribution, and similarity of attributions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from covidxr.records import GrayImage

STEPS = 20
"""Steps from the whole image to none of it; the curves have one more point."""


def removal_masks(heat: npt.NDArray[np.floating], steps: int = STEPS) -> npt.NDArray[np.bool_]:
    """Return which pixels are removed after each step, highest attribution first.

    Petsiuk et al. 2018, "RISE", section 4.4. Equal values are removed in order of position.

    Args:
        heat: (S, S).
        steps: From none to all pixels.

    Returns:
        (steps + 1, S, S), true where a pixel is removed.
    """
    rank = np.empty(heat.size, dtype=np.int64)
    rank[np.argsort(-heat.ravel(), kind="stable")] = np.arange(heat.size)
    removed = np.rint(np.linspace(0, heat.size, steps + 1)).astype(np.int64)
    return np.asarray(rank.reshape(1, *heat.shape) < removed[:, None, None], dtype=np.bool_)


def deleted(pixels: GrayImage, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return an image (S, S) with the masked pixels black, for K masks: (K, S, S)."""
    return np.where(masks, np.uint8(0), pixels)


def inserted(pixels: GrayImage, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return an image (S, S) strongly blurred but for the masked pixels, for K masks: (K, S, S)."""
    blurred = gaussian_filter(pixels.astype(np.float32), 0.05 * pixels.shape[0])
    return np.where(masks, pixels, np.rint(blurred).astype(np.uint8))


def areas(curves: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the (N,) areas under curves (N, K) over equal steps from 0 to 1 (trapezoidal rule)."""
    return np.asarray(np.trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1), dtype=np.float64)


def similarity(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return Spearman's correlation and the SSIM of two attributions (S, S), scaled to maximum 1.

    The correlation with a constant attribution is 0. SSIM: Wang et al. 2004, "Image quality
    assessment", eq. 13, with its Gaussian window and a range of 1, or 2 with negative values.
    """
    # Takes half a second to import, and only the evaluation needs it.
    from skimage.metrics import structural_similarity

    a, b = (m / max(float(np.abs(m).max()), 1e-12) for m in (a, b))
    flat = np.ptp(a) == 0 or np.ptp(b) == 0
    correlation = 0.0 if flat else float(spearmanr(a.ravel(), b.ravel()).statistic)
    data_range = 2.0 if min(a.min(), b.min()) < 0 else 1.0
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = structural_similarity(a, b, data_range=data_range, **window)  # type: ignore[no-untyped-call]
    return correlation, float(ssim)
