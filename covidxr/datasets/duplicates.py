"""Near-duplicates: one radiograph saved twice, slightly cropped, annotated or re-exposed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn
from scipy.spatial import cKDTree

from covidxr.datasets.dataset import Dataset
from covidxr.datasets.pixels import Pixels, cached_at
from covidxr.storage import cached_arrays

THUMBNAIL = 64
"""Edge in pixels at which images are compared."""
MIN_CORRELATION = 0.96
"""In the development copy nearly all pairs of COVID images above it are one radiograph.

Below 0.95 most are not.
"""
_COEFFICIENTS = 20


def near_duplicates(
    thumbnails: npt.NDArray[np.uint8], min_correlation: float = MIN_CORRELATION
) -> npt.NDArray[np.int64]:
    """Find the pairs of images whose pixels are correlated.

    A k-d tree over the leading cosine coefficients of the standardized images proposes pairs, and
    Pearson's correlation r decides. For unit vectors |a - b|^2 = 2 (1 - r), and dropping
    coordinates only reduces distances, so the tree misses no pair.

    Args:
        thumbnails: (N, 64, 64).
        min_correlation: Smallest correlation of near-duplicates.

    Returns:
        (P, 2) row numbers, the smaller first, sorted.
    """
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    spectrum = dctn(flat.reshape(thumbnails.shape), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(
        len(flat), -1
    )
    rows, columns = np.indices((8, 8))
    by_frequency = np.argsort((rows + columns).ravel(), kind="stable")[1 : _COEFFICIENTS + 1]
    radius = np.sqrt(2 * (1 - min_correlation)) + 1e-6
    candidates = cKDTree(spectrum[:, by_frequency]).query_pairs(radius, output_type="ndarray")
    correlation = np.concatenate(
        [
            np.einsum("ij,ij->i", flat[part[:, 0]], flat[part[:, 1]])
            for part in np.array_split(candidates, len(candidates) // 20_000 + 1)
        ]
    )
    pairs = candidates[correlation >= min_correlation]
    return np.array(sorted(map(tuple, pairs.tolist())), dtype=np.int64).reshape(-1, 2)


def find_near_duplicates(dataset: Dataset, thumbnails: Pixels) -> npt.NDArray[np.int64]:
    """Return the near-duplicates of a dataset, from the cache or by a search of some seconds.

    Args:
        dataset: With N samples.
        thumbnails: Its images at `THUMBNAIL`.

    Returns:
        (P, 2) positions of samples, sorted.
    """
    path = cached_at(dataset, THUMBNAIL) / f"near-duplicates-{MIN_CORRELATION}.npz"
    stored = cached_arrays(
        path,
        lambda: {"pairs": near_duplicates(thumbnails.array)},
        lambda arrays: arrays["pairs"].shape[1:] == (2,),
    )
    pairs = stored["pairs"]
    position = np.full(len(thumbnails.array), -1)
    position[thumbnails.rows([sample.file for sample in dataset.samples])] = np.arange(
        len(dataset.samples)
    )
    found = np.sort(position[pairs], axis=1)
    found = found[found[:, 0] >= 0]
    return np.asarray(found[np.lexsort((found[:, 1], found[:, 0]))], dtype=np.int64)
