"""Images that are no radiographs."""

from __future__ import annotations

import numpy as np
import pytest

from covidxr.ood.examples import ood_examples


@pytest.mark.slow
def test_ood_examples_are_of_nine_types_and_always_the_same() -> None:
    first, again = list(ood_examples()), list(ood_examples())
    assert len(first) > 75
    assert len({kind for kind, _ in first}) == 9
    assert all(image.dtype == np.uint8 and image.ndim == 2 for _, image in first)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert len({image.tobytes() for _, image in first}) == len(first)
