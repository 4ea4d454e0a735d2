from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from covidxr.datasets.neighbors import index_points, principal_components
from covidxr.datasets.phantoms import render_phantom
from covidxr.images.radiograph import fit_to_square
from covidxr.records import CLASS_NAMES


def test_the_nearest_image_is_its_re_exposed_copy_and_never_itself() -> None:
    images = [
        fit_to_square(render_phantom(CLASS_NAMES[i % 4], np.random.default_rng(i))[0], 64)
        for i in range(40)
    ]
    brighter = [np.clip(image * 0.8 + 30, 0, 255).astype(np.uint8) for image in images]
    looks = principal_components(np.stack(images + brighter))
    assert looks.points.dtype == np.float32
    for i in range(40):
        found = [row for row, _ in looks.nearest(looks.points[i], 5, {i})]
        assert found[0] == i + 40
        assert i not in found
        assert len(found) == 5


def test_few_images_have_few_neighbors() -> None:
    images = np.stack(
        [fit_to_square(render_phantom("COVID", np.random.default_rng(i))[0], 64) for i in range(3)]
    )
    looks = principal_components(images)
    assert sorted(row for row, _ in looks.nearest(looks.points[0], 9, {0})) == [1, 2]


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    wanted=st.integers(1, 40),
    without=st.sets(st.integers(0, 29)),
)
def test_neighbors_equal_those_of_scikit_learn(
    seed: int, n: int, wanted: int, without: set[int]
) -> None:
    points = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    point = points[0] + np.float32(0.1)
    without = {row for row in without if row < n}
    left = [row for row in range(n) if row not in without]
    found = index_points(points).nearest(point, wanted, without)
    assert len(found) == min(wanted, len(left))
    if left:
        expected, _ = (
            NearestNeighbors(algorithm="brute")
            .fit(points[left])
            .kneighbors(point[None], n_neighbors=len(found))
        )
        assert [distance for _, distance in found] == pytest.approx(expected[0], abs=1e-5)
        distances = np.linalg.norm(points - point, axis=1)
        assert all(
            row in left and distances[row] == pytest.approx(distance, abs=1e-5)
            for row, distance in found
        )


def test_a_search_of_the_whole_database_takes_less_than_a_tenth_of_a_second() -> None:
    random = np.random.default_rng(0)
    known = index_points(random.normal(size=(21_165, 512)).astype(np.float32))
    took = []
    for _ in range(5):
        started = time.perf_counter()
        known.nearest(random.normal(size=512).astype(np.float32), 6, set(range(40)))
        took.append(time.perf_counter() - started)
    assert min(took) < 0.1
