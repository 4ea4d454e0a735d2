"""Lung masks, by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from covidxr.errors import ImageError
from covidxr.lungs.masks import (
    LEAST_SHARE,
    MASK_SIZE,
    lung_box,
    only_lungs,
    read_mask,
    resize_mask,
    tidy_mask,
)
from covidxr.models.classifier import WHOLE


def block(*spans: tuple[int, int, int, int], size: int = MASK_SIZE) -> np.ndarray:
    """True in rectangles (top, bottom, left, right)."""
    mask = np.zeros((size, size), dtype=bool)
    for top, bottom, left, right in spans:
        mask[top:bottom, left:right] = True
    return mask


def test_the_two_largest_regions_are_kept_and_their_holes_filled() -> None:
    lungs = block((50, 200, 30, 100), (50, 200, 150, 220))
    said = lungs.copy()
    said[100:110, 60:70] = False  # a hole
    said[230:240, 10:20] = True  # a speck
    assert np.array_equal(tidy_mask(said.astype(np.float32)), lungs)


def test_small_regions_are_dropped() -> None:
    one = block((50, 200, 30, 100))
    assert np.array_equal(tidy_mask((one | block((230, 240, 230, 240))).astype(np.float32)), one)
    edge = int((LEAST_SHARE * MASK_SIZE**2) ** 0.5)
    assert not tidy_mask(block((0, edge, 0, edge)).astype(np.float32)).any()
    assert tidy_mask(block((0, edge + 1, 0, edge + 1)).astype(np.float32)).any()


def test_the_threshold_is_one_half_after_smooth_enlargement() -> None:
    probability = np.full((128, 128), 0.49, dtype=np.float32)
    probability[20:100, 20:100] = 0.51
    mask = tidy_mask(probability)
    assert mask.shape == (MASK_SIZE, MASK_SIZE)
    assert mask[50:190, 50:190].all()
    assert not mask[:38].any()


def test_the_box_is_a_square_around_the_lungs_inside_the_image() -> None:
    # rows 100 to 149 and columns 10 to 109: 100 wide, 8 pixels (3% of 256) on each side make 116
    left, top, right, bottom = (
        round(edge * MASK_SIZE) for edge in lung_box(block((100, 150, 10, 110)))
    )
    assert (right - left, bottom - top) == (116, 116)
    assert (left, right) == (2, 118)
    assert (top, bottom) == (67, 183)
    assert lung_box(block((100, 150, 0, 100)))[0] == 0.0  # pushed back in, not cut
    assert lung_box(np.zeros((MASK_SIZE, MASK_SIZE), dtype=bool)) == WHOLE


def test_only_the_lungs_remain_and_fill_the_image() -> None:
    image = np.full((512, 512), 200, dtype=np.uint8)
    mask = block((64, 192, 64, 192))
    view = only_lungs(image, mask, 72)
    left, box = view.pixels, view.box
    # the box is 144 wide: at 72 pixels its margin of 8 is 4
    assert box == (56 / 256, 56 / 256, 200 / 256, 200 / 256)
    assert (left[6:-6, 6:-6] == 200).all()
    assert (left[:2] == 0).all()
    assert (left[:, -2:] == 0).all()


def test_masks_of_any_size_are_read_and_damage_is_named() -> None:
    buffer = io.BytesIO()
    Image.fromarray(block((0, 64, 0, 128), size=128).astype(np.uint8) * 255).convert("RGB").save(
        buffer, format="PNG"
    )
    mask = read_mask(buffer.getvalue(), "m.png")
    assert np.array_equal(mask, block((0, 128, 0, 256)))
    assert np.array_equal(resize_mask(mask, 128), block((0, 64, 0, 128), size=128))
    with pytest.raises(ImageError, match=r"cannot read the mask m\.png"):
        read_mask(buffer.getvalue()[:40], "m.png")
