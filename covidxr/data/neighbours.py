"""Which pictures look alike: neighbours in the space of their leading principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

_COMPONENTS = 48
_FITTED = 4_000
"""Pictures that the components are fitted on; more change them hardly and cost memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Pictures as points: `features` (N, 48) float32, near where the pictures look alike."""

    features: npt.NDArray[np.float32]
    index: NearestNeighbors

    def nearest(self, row: int, n: int) -> list[int]:
        """Return the rows of the n pictures that look most like a picture, itself left out."""
        found = self.index.kneighbors(
            self.features[row : row + 1], n_neighbors=min(n + 1, len(self.features)), return_distance=False
        )
        return [int(other) for other in found[0] if other != row][:n]


def measure_looks(thumbnails: npt.NDArray[np.uint8]) -> Looks:
    """Describe pictures, (N, S, S) grey values, by their principal components; brightness and contrast are taken out first."""
    n = len(thumbnails)
    chosen = np.random.default_rng(0).choice(n, min(n, _FITTED), replace=False)
    components = PCA(min(_COMPONENTS, len(chosen)), svd_solver="randomized", random_state=0).fit(_standardised(thumbnails[chosen]))
    parts = [components.transform(_standardised(thumbnails[start : start + _FITTED])) for start in range(0, n, _FITTED)]
    features = np.concatenate(parts).astype(np.float32)
    return Looks(features, NearestNeighbors(algorithm="brute").fit(features))


def _standardised(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= flat.std(axis=1, keepdims=True) + 1e-6
    return flat
