"""Overlays on images against hand-worked values."""

import numpy as np
import pytest

from covidxr.figures import (
    INFERNO,
    contour_layer,
    fit_screen,
    heat_layer,
    heat_overlay,
    layer_size,
    lung_outline,
    on_native_grid,
    opacity_boxes,
    outline_layer,
)


def test_inferno_runs_from_dark_to_light():
    brightness = INFERNO @ np.array([0.2126, 0.7152, 0.0722])
    assert INFERNO.shape == (256, 3)
    assert (np.diff(brightness) > 0).all()
    assert brightness[0] < 5
    assert brightness[-1] > 200


@pytest.mark.parametrize(
    ("height", "width", "row", "column"),
    [(80, 80, 1, 6), (40, 80, 3, 6), (80, 40, 6, 3), (41, 80, 4, 1), (80, 63, 1, 5)],
)
def test_a_hot_cell_is_at_its_place(height, width, row, column):
    # 8 x 8 cells over an 80-pixel square: a cell's center is at 10 * index + 4.5, less the padding.
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[row, column] = 1.0
    overlay = (
        heat_overlay(np.zeros((height, width), dtype=np.uint8), heat, 1.0).astype(int).sum(axis=2)
    )
    assert overlay.shape == (height, width)
    hottest = np.argwhere(overlay == overlay.max()).mean(axis=0)
    edge = max(height, width)
    expected = (10 * row + 4.5 - (edge - height) // 2, 10 * column + 4.5 - (edge - width) // 2)
    assert hottest == pytest.approx(expected, abs=1.0)


def test_heat_on_the_padding_is_cropped():
    heat = np.zeros((4, 4), dtype=np.float32)
    # The upper and lower quarter of the square are padding of an image half as high as wide.
    heat[0] = heat[3] = 1.0
    overlay = heat_overlay(np.zeros((200, 400), dtype=np.uint8), heat, 1.0)
    assert overlay[100].max() == 0
    # The bilinear slope ends half a cell (50 pixels) inside the image.
    assert overlay[60:140].max() == 0


def test_opacity_zero_returns_the_image():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (17, 29), dtype=np.uint8)
    heat = rng.random((8, 8)).astype(np.float32)
    assert (heat_overlay(image, heat, 0.0) == image[..., None]).all()
    assert (heat_overlay(image, np.zeros((8, 8), dtype=np.float32), 1.0) == image[..., None]).all()


def test_half_opacity_is_halfway():
    image = np.full((8, 8), 100, dtype=np.uint8)
    expected = np.rint((INFERNO[255] + 100) / 2)
    assert np.abs(heat_overlay(image, np.ones((4, 4), dtype=np.float32), 0.5) - expected).max() == 0


def test_invalid_overlays_are_rejected():
    image = np.zeros((8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"opacity must be between 0 and 1, got 1\.5"):
        heat_overlay(image, np.zeros((4, 4), dtype=np.float32), 1.5)
    with pytest.raises(ValueError, match=r"\(S, S\), got \(4, 5\)"):
        heat_overlay(image, np.zeros((4, 5), dtype=np.float32), 0.5)


def test_only_large_images_are_reduced():
    small, large = np.zeros((30, 20), dtype=np.uint8), np.zeros((3000, 2000), dtype=np.uint8)
    assert fit_screen(small) is small
    assert fit_screen(large).shape == (1024, 683)
    assert fit_screen(np.zeros((2, 5000), dtype=np.uint8)).shape == (1, 1024)


def test_evidence_against_a_class_is_blue():
    heat = np.zeros((2, 2), dtype=np.float32)
    heat[:, 0], heat[:, 1] = 1.0, -1.0
    overlay = heat_overlay(np.zeros((40, 40), dtype=np.uint8), heat, 1.0).astype(int)
    # Inferno ends in yellow.
    assert overlay[20, 2, 0] > overlay[20, 2, 2]
    assert overlay[20, 37, 2] > overlay[20, 37, 0]


def test_contours_are_where_the_heat_map_crosses_its_levels():
    # The values rise linearly from left to right: 25% is reached at column 50 of 200, 75% at 150.
    heat = np.repeat(np.linspace(0, 1, 200, dtype=np.float32)[None], 200, axis=0)
    drawn = contour_layer(heat, 200, 200)
    columns = np.flatnonzero(drawn[100].any(axis=1))
    assert columns.tolist() == [50, 100, 101, 150, 151, 152]
    assert drawn[100, 150].sum() > drawn[100, 100].sum() > drawn[100, 50].sum()


def test_the_outline_is_the_border_of_the_lungs_on_an_oblong_image():
    lungs = np.zeros((256, 256), dtype=bool)
    lungs[96:160, 64:192] = True
    # The square has 64 rows of padding above and below.
    drawn = lung_outline(np.zeros((128, 256), dtype=np.uint8), lungs)
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32, 95, 64, 191)
    assert not drawn[40:90, 70:180].any()


@pytest.mark.parametrize("opacity", [0.0, 0.35, 1.0])
def test_a_layer_over_an_image_is_the_overlay(opacity):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (61, 90), dtype=np.uint8)
    heat = rng.uniform(-1, 1, (12, 12)).astype(np.float32)
    layer = heat_layer(heat, 61, 90).astype(float)
    alpha = opacity * layer[..., 3:] / 255
    blend = alpha * layer[..., :3] + (1 - alpha) * image[..., None]
    # The layer's opacity is rounded to 1/255.
    assert np.abs(blend - heat_overlay(image, heat, opacity)).max() <= 2


def test_the_outline_layer_is_the_outline():
    lungs = np.zeros((256, 256), dtype=bool)
    lungs[96:160, 64:192] = True
    layer = outline_layer(lungs, 128, 256)
    assert np.array_equal(layer[..., :3], lung_outline(np.zeros((128, 256), dtype=np.uint8), lungs))
    assert np.array_equal(layer[..., 3] == 255, layer[..., :3].any(axis=2))


def test_a_layer_has_the_aspect_ratio_of_its_image():
    assert layer_size(299, 299) == (1024, 1024)
    assert layer_size(3000, 2500) == (1024, 853)
    assert layer_size(32, 40_000) == (1, 1024)


def test_the_native_grid_has_uniform_cells():
    cells = np.arange(16, dtype=np.float32).reshape(4, 4) / 15
    coarse = on_native_grid(np.kron(cells, np.ones((8, 8), dtype=np.float32)), (4, 4))
    assert coarse.shape == (32, 32)
    assert np.allclose(coarse[::8, ::8], cells)
    assert len(np.unique(coarse)) == 16


def test_a_box_is_drawn_at_its_place():
    drawn = opacity_boxes(np.zeros((100, 200, 3), dtype=np.uint8), [(0.25, 0.5, 0.5, 0.25)])
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 74, 50, 149)
    assert not drawn[60, 100].any()
