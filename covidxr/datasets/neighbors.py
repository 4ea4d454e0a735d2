"""Which pictures are alike: neighbors in a space of features, a network's or the leading principal components of the pictures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

_COMPONENTS = 48
_FITTED = 4_000
"""Pictures that the components are fitted on; more change them hardly and cost memory."""

Points = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbors:
    """Pictures as points, (N, D) float32, near where the pictures are alike."""

    points: Points
    squares: npt.NDArray[np.float32]
    """(N,) squared lengths of the points."""

    def nearest(
        self, point: Points, n: int, without: Collection[int] = ()
    ) -> list[tuple[int, float]]:
        """Return (row, Euclidean distance) of the n points nearest to one, (D,), the nearest first; some rows are passed over.

        |a - b|^2 = |a|^2 - 2 ab + |b|^2 for all points, then the distance itself for the nearest. One product of a matrix and a
        vector takes some milliseconds at 21,165 x 512 and bears a busy machine; scikit-learn's search, which shares one query out
        among threads, took over a second there.
        """
        squared = self.squares - 2 * (self.points @ point)
        squared[list(without)] = np.inf
        n = min(n, len(squared) - len(without))
        rows = np.argpartition(squared, n - 1)[:n] if n > 0 else np.empty(0, dtype=np.int64)
        distances = np.linalg.norm(self.points[rows] - point, axis=1)
        order = np.argsort(distances)
        return list(zip(rows[order].tolist(), distances[order].tolist(), strict=True))


def index_points(points: Points) -> Neighbors:
    """Make points, (N, D), ready to be searched."""
    return Neighbors(points, np.einsum("ij,ij->i", points, points))


def principal_components(thumbnails: npt.NDArray[np.uint8]) -> Neighbors:
    """Describe pictures, (N, S, S) grey values, by 48 principal components; brightness and contrast are taken out first."""
    n = len(thumbnails)
    chosen = np.random.default_rng(0).choice(n, min(n, _FITTED), replace=False)
    components = PCA(min(_COMPONENTS, len(chosen)), svd_solver="randomized", random_state=0).fit(
        _standardised(thumbnails[chosen])
    )
    parts = [
        components.transform(_standardised(thumbnails[start : start + _FITTED]))
        for start in range(0, n, _FITTED)
    ]
    return index_points(np.concatenate(parts).astype(np.float32))


def _standardised(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= flat.std(axis=1, keepdims=True) + 1e-6
    return flat
