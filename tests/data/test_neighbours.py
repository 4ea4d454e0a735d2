from __future__ import annotations

import numpy as np

from covidxr.data.images import fit_to_square
from covidxr.data.neighbours import measure_looks
from covidxr.data.phantom import render_phantom
from covidxr.records import CLASS_NAMES


def test_the_nearest_picture_is_the_same_one_exposed_otherwise_and_never_itself() -> None:
    images = [fit_to_square(render_phantom(CLASS_NAMES[i % 4], np.random.default_rng(i))[0], 64) for i in range(40)]
    brighter = [np.clip(image * 0.8 + 30, 0, 255).astype(np.uint8) for image in images]
    looks = measure_looks(np.stack(images + brighter))
    assert looks.features.dtype == np.float32
    for i in range(40):
        found = looks.nearest(i, 5)
        assert found[0] == i + 40
        assert i not in found
        assert len(found) == 5


def test_few_pictures_have_few_neighbours() -> None:
    images = np.stack([fit_to_square(render_phantom("COVID", np.random.default_rng(i))[0], 64) for i in range(3)])
    assert sorted(measure_looks(images).nearest(0, 9)) == [1, 2]
