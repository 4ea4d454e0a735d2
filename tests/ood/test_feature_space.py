from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from covidxr.errors import ConfigError
from covidxr.ood.feature_space import MOST_AXES, distances, fit_space

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], 60)
FEATURES = (
    RANDOM.normal(size=(180, 6)) * [5, 3, 2, 0.5, 0.4, 0.3]
    + np.array([[0.0] * 6, [20, 0, 0, 0, 0, 0], [0, 20, 0, 0, 0, 0]])[LABELS]
)


def test_the_distance_equals_scipy_s_to_the_nearest_class() -> None:
    space = fit_space(FEATURES, LABELS)
    k = space.axes.shape[1]
    assert k == 3  # half of the features
    along = (FEATURES - FEATURES.mean(axis=0)) @ space.axes
    within = along - np.stack([along[c == LABELS].mean(axis=0) for c in range(3)])[LABELS]
    left = FEATURES - FEATURES.mean(axis=0) - along @ space.axes.T
    noise = (left**2).sum() / (180 * 3)
    shrunk = LedoitWolf(assume_centered=True).fit(within).covariance_
    covariance = space.axes @ shrunk @ space.axes.T + noise * (
        np.eye(6) - space.axes @ space.axes.T
    )
    centers = [
        FEATURES.mean(axis=0) + space.axes @ along[c == LABELS].mean(axis=0) for c in range(3)
    ]
    new = RANDOM.normal(size=(20, 6)) * 10
    expected = [
        min(mahalanobis(x, centre, np.linalg.inv(covariance)) for centre in centers) for x in new
    ]
    assert distances(space, new) == pytest.approx(expected)


def test_the_residual_outside_the_axes_counts() -> None:
    space = fit_space(FEATURES, LABELS)
    beside = np.array([[0, 0, 0, 10.0, 0, 0]])
    assert distances(space, beside)[0] > 5 * np.quantile(distances(space, FEATURES), 0.95)


def test_images_are_nearest_to_their_own_class_mean() -> None:
    space = fit_space(FEATURES, LABELS)
    means = np.stack([FEATURES[c == LABELS].mean(axis=0) for c in range(3)])
    assert (distances(space, means) < 1).all()
    between = means[1:].mean(axis=0)[None]
    assert distances(space, between)[0] > 2


def test_axes_are_limited_and_constant_features_are_allowed() -> None:
    wide = np.concatenate([RANDOM.normal(size=(100, 150)), np.zeros((100, 10))], axis=1)
    space = fit_space(wide, np.arange(100) % 2)
    assert space.axes.shape == (160, MOST_AXES)
    assert np.isfinite(distances(space, wide)).all()


@pytest.mark.parametrize("labels", [[0, 2, 2], []])
def test_every_class_needs_an_image(labels: list[int]) -> None:
    with pytest.raises(ConfigError, match="every class"):
        fit_space(np.zeros((len(labels), 4)), np.array(labels, dtype=np.int64))
