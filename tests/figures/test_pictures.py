"""Heat maps laid over pictures, against values worked out by hand."""

import numpy as np
import pytest

from covidxr.figures import INFERNO, fit_screen, heat_overlay


def test_inferno_runs_from_dark_to_light():
    brightness = INFERNO @ np.array([0.2126, 0.7152, 0.0722])
    assert INFERNO.shape == (256, 3)
    assert (np.diff(brightness) > 0).all()
    assert brightness[0] < 5
    assert brightness[-1] > 200


@pytest.mark.parametrize(
    ("height", "width", "row", "column"), [(80, 80, 1, 6), (40, 80, 3, 6), (80, 40, 6, 3), (41, 80, 4, 1), (80, 63, 1, 5)]
)
def test_a_hot_cell_lands_on_its_place(height, width, row, column):
    # An 8 x 8 heat over an 80-pixel square: the cell's centre lies at 10 * index + 4.5, less the padding of the short side.
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[row, column] = 1.0
    overlay = heat_overlay(np.zeros((height, width), dtype=np.uint8), heat, 1.0).astype(int).sum(axis=2)
    assert overlay.shape == (height, width)
    hottest = np.argwhere(overlay == overlay.max()).mean(axis=0)
    edge = max(height, width)
    expected = (10 * row + 4.5 - (edge - height) // 2, 10 * column + 4.5 - (edge - width) // 2)
    assert hottest == pytest.approx(expected, abs=1.0)


def test_heat_on_the_padding_is_cropped_off():
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[0] = heat[3] = 1.0  # the upper and lower quarter of the square are padding for a picture half as high as wide
    overlay = heat_overlay(np.zeros((200, 400), dtype=np.uint8), heat, 1.0)
    assert overlay[100].max() == 0
    assert overlay[60:140].max() == 0  # the bilinear slope ends half a cell (50 pixels) inside the picture


def test_opacity_zero_returns_the_picture():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (17, 29), dtype=np.uint8)
    heat = rng.random((8, 8)).astype(np.float32)
    assert (heat_overlay(image, heat, 0.0) == image[..., None]).all()
    assert (heat_overlay(image, np.zeros((8, 8), dtype=np.float32), 1.0) == image[..., None]).all()


def test_half_opacity_is_halfway():
    image = np.full((8, 8), 100, dtype=np.uint8)
    expected = np.rint((INFERNO[255] + 100) / 2)
    assert np.abs(heat_overlay(image, np.ones((4, 4), dtype=np.float32), 0.5) - expected).max() == 0


def test_nonsense_is_refused():
    image = np.zeros((8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"opacity must lie between 0 and 1, got 1\.5"):
        heat_overlay(image, np.zeros((4, 4), dtype=np.float32), 1.5)
    with pytest.raises(ValueError, match=r"\(S, S\), got \(4, 5\)"):
        heat_overlay(image, np.zeros((4, 5), dtype=np.float32), 0.5)


def test_only_large_pictures_are_reduced():
    small, large = np.zeros((30, 20), dtype=np.uint8), np.zeros((3000, 2000), dtype=np.uint8)
    assert fit_screen(small) is small
    assert fit_screen(large).shape == (1024, 683)
    assert fit_screen(np.zeros((2, 5000), dtype=np.uint8)).shape == (1, 1024)
