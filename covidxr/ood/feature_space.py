"""Feature spaces: the Mahalanobis distance of an image from the training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError
from covidxr.records import Labels

Features = npt.NDArray[np.float64]

MOST_AXES = 64
ACCEPTED = 0.95
"""Share of the validation images that are accepted."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """Distribution of the training images of each class: D features, C classes, K axes."""

    centre: Features
    """(D,) mean."""
    axes: Features
    """(D, K) principal axes, orthonormal."""
    means: Features
    """(C, K) whitened class means along the axes."""
    whitening: Features
    """(K, K)."""
    spread: Features
    """(1,) residual variance per dimension."""


def fit_space(features: Features, labels: Labels) -> FeatureSpace:
    """Fit a feature space with at most 64 and D / 2 axes.

    One covariance for all classes: Lee et al. 2018, "A simple unified framework for detecting
    out-of-distribution samples and adversarial attacks", NeurIPS, eq. 1; shrunk on the axes:
    Ledoit & Wolf 2004, J Multivar Anal 88:365; isotropic residual: Tipping & Bishop 1999,
    "Probabilistic principal component analysis", JRSS B 61:611.

    Args:
        features: (N, D) of training images.
        labels: (N,) class indices 0..C-1.

    Raises:
        ConfigError: When a class has no sample.
    """
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import PCA

    classes = int(labels.max(initial=-1)) + 1
    if len(np.unique(labels)) != classes or classes == 0:
        raise ConfigError(
            "the OOD detector needs training images of every class, got "
            f"{len(np.unique(labels))} of {classes} classes"
        )
    k = max(1, min(MOST_AXES, features.shape[1] // 2, len(features) - 1))
    pca = PCA(k, svd_solver="full").fit(features)
    axes, centered = pca.components_.T, features - pca.mean_
    along = centered @ axes
    means = np.stack([along[labels == label].mean(axis=0) for label in range(classes)])
    precision = LedoitWolf(assume_centered=True).fit(along - means[labels]).precision_
    whitening = np.linalg.cholesky(precision)
    residual = centered - along @ axes.T
    n_residual = len(features) * max(features.shape[1] - k, 1)
    spread = np.array([max(float((residual**2).sum()) / n_residual, 1e-12)])
    return FeatureSpace(pca.mean_, axes, means @ whitening, whitening, spread)


def distances(space: FeatureSpace, features: Features) -> npt.NDArray[np.float64]:
    """Return the (N,) Mahalanobis distances of features (N, D) from the nearest class."""
    # Without BLAS, whose idle threads would slow down the network's.
    centered = features - space.centre
    along = np.einsum("nd,dk->nk", centered, space.axes)
    residual = (centered - np.einsum("nk,dk->nd", along, space.axes)) ** 2
    to_classes = (np.einsum("nk,kl->nl", along, space.whitening)[:, None] - space.means[None]) ** 2
    squared = to_classes.sum(axis=2).min(axis=1) + residual.sum(axis=1) / space.spread[0]
    return np.asarray(np.sqrt(squared))
