from __future__ import annotations

import numpy as np
import pytest

from covidxr.images.radiograph import fit_to_square, padding


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(40, 60, (0, 10, 0, 10)), (61, 40, (10, 0, 11, 0)), (5, 5, (0, 0, 0, 0))],
)
def test_padding_is_centered(height: int, width: int, expected: tuple[int, int, int, int]) -> None:
    assert padding(height, width) == expected


def test_fit_to_square_keeps_the_aspect_ratio_and_crops_nothing() -> None:
    image = np.full((100, 200), 255, dtype=np.uint8)
    square = fit_to_square(image, 64)
    assert square.shape == (64, 64)
    rows = square[:, 32]
    # 100 of 200 rows are image: 32 of 64, between rows 16 and 48.
    assert (rows[20:44] == 255).all()
    assert (rows[:12] == 0).all()
    assert (rows[52:] == 0).all()
    assert square.sum() / 255 == pytest.approx(64 * 32, rel=0.01)


def test_a_square_of_the_right_size_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    assert np.array_equal(fit_to_square(image, 64), image)


def test_reduction_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (256, 128))
    inner = fit_to_square(stripes, 64)[8:-8, 8:-8]
    # Without antialiasing, every fourth column would be kept: all black or all white.
    assert np.abs(inner.astype(int) - 127).max() <= 3
