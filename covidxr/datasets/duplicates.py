"""Near-duplicates: the same radiograph saved twice, cropped a little, annotated or re-exposed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn
from scipy.spatial import cKDTree

from covidxr.datasets.dataset import Dataset
from covidxr.datasets.pixels import Pixels, cached_at
from covidxr.storage import cached_arrays

THUMBNAIL = 64
"""Edge in pixels at which pictures are compared."""
MIN_CORRELATION = 0.96
"""On the development copy nearly every pair of COVID images above this is the same radiograph; below 0.95 most are not."""
_COEFFICIENTS = 20


def near_duplicates(
    thumbnails: npt.NDArray[np.uint8], min_correlation: float = MIN_CORRELATION
) -> npt.NDArray[np.int64]:
    """Find the pairs of pictures whose pixels correlate by `min_correlation` or more.

    thumbnails: (N, 64, 64).  Returns (P, 2) row numbers, the smaller first, sorted.

    A perceptual hash (the leading cosine coefficients of the standardised picture, kept as numbers and not as signs) proposes the
    pairs through a k-d tree, and Pearson's correlation decides. For unit vectors |a - b|^2 = 2 (1 - r), and leaving out coordinates
    only brings points closer, so the tree misses no pair.
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
    """Return the near-duplicates of a dataset, (P, 2) positions of samples, sorted.

    thumbnails: the dataset's images at `THUMBNAIL`. The search takes seconds, so its result lies beside them in the cache.
    """
    place = cached_at(dataset, THUMBNAIL) / f"near-duplicates-{MIN_CORRELATION}.npz"
    stored = cached_arrays(
        place,
        lambda: {"pairs": near_duplicates(thumbnails.array)},
        lambda arrays: arrays["pairs"].shape[1:] == (2,),
    )
    pairs = stored["pairs"]
    position = np.full(len(thumbnails.array), -1)
    position[thumbnails.rows([sample.file for sample in dataset.samples])] = np.arange(
        len(dataset.samples)
    )
    twins = np.sort(position[pairs], axis=1)
    twins = twins[twins[:, 0] >= 0]
    return np.asarray(twins[np.lexsort((twins[:, 1], twins[:, 0]))], dtype=np.int64)
