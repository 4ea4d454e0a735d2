"""How far a picture lies, in a network's features, from those that it learned from; and how well that tells foreign pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.records import Labels

Features = npt.NDArray[np.float64]

MOST_AXES = 64
ACCEPTED = 0.95
"""Share of the validation pictures that the threshold lets pass."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """Where the training pictures of each class lie: D features, C classes, K principal axes."""

    centre: Features
    """(D,)."""
    axes: Features
    """(D, K), orthonormal."""
    means: Features
    """(C, K) of the classes, along the axes, whitened."""
    whitening: Features
    """(K, K)."""
    spread: Features
    """(1,) variance a dimension of what the axes leave over."""


def fit_space(features: Features, labels: Labels) -> FeatureSpace:
    """Describe training features (N, D) of classes 0..C-1, each of which must be there, by no more than 64 and D / 2 axes.

    One covariance for all classes: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples and
    adversarial attacks", NeurIPS, eq. 1; shrunk on the axes as in Ledoit & Wolf 2004, J Multivar Anal 88:365; what the axes
    leave over counts as noise of one size: Tipping & Bishop 1999, "Probabilistic principal component analysis", JRSS B 61:611.
    Raises ConfigError when a class has no sample.
    """
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import PCA

    classes = int(labels.max(initial=-1)) + 1
    if len(np.unique(labels)) != classes or classes == 0:
        raise ConfigError("every class must have a training picture for a gate to be fitted")
    k = max(1, min(MOST_AXES, features.shape[1] // 2, len(features) - 1))
    pca = PCA(k, svd_solver="full").fit(features)
    axes, centred = pca.components_.T, features - pca.mean_
    along = centred @ axes
    means = np.stack([along[labels == label].mean(axis=0) for label in range(classes)])
    precision = LedoitWolf(assume_centered=True).fit(along - means[labels]).precision_
    whitening = np.linalg.cholesky(precision)
    left = centred - along @ axes.T
    spread = np.array(
        [max(float((left**2).sum()) / (len(features) * max(features.shape[1] - k, 1)), 1e-12)]
    )
    return FeatureSpace(pca.mean_, axes, means @ whitening, whitening, spread)


def distances(space: FeatureSpace, features: Features) -> npt.NDArray[np.float64]:
    """(N,) Mahalanobis distance of features (N, D) from the nearest class, 0 or more."""
    # Not by BLAS, whose threads would wait for work in the way of the network's.
    centred = features - space.centre
    along = np.einsum("nd,dk->nk", centred, space.axes)
    left = ((centred - np.einsum("nk,dk->nd", along, space.axes)) ** 2).sum(axis=1) / space.spread[
        0
    ]
    near = (np.einsum("nk,kl->nl", along, space.whitening)[:, None] - space.means[None]) ** 2
    return np.asarray(np.sqrt(near.sum(axis=2).min(axis=1) + left))
