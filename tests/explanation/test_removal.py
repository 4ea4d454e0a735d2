"""Removal of pixels, areas under curves and similarity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from covidxr.explanation.removal import areas, deleted, inserted, removal_masks, similarity


def test_the_highest_values_are_removed_first() -> None:
    heat = np.array([[0.1, 0.9], [-1.0, 0.5]])
    masks = removal_masks(heat, steps=4)
    assert masks.reshape(5, 4).astype(int).tolist() == [
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 1, 0, 1],
        [1, 1, 0, 1],
        [1, 1, 1, 1],
    ]


@given(st.integers(0, 1000), st.integers(1, 20))
def test_masks_grow_evenly_in_order_of_attribution(seed: int, steps: int) -> None:
    heat = np.random.default_rng(seed).normal(size=(7, 7))
    masks = removal_masks(heat, steps)
    assert np.allclose(masks.sum(axis=(1, 2)), np.linspace(0, 49, steps + 1), atol=0.5)
    for mask in masks[1:-1]:
        if mask.any() and not mask.all():
            assert heat[mask].min() >= heat[~mask].max()


def test_pixels_are_blackened_or_restored() -> None:
    pixels = np.full((20, 20), 200, dtype=np.uint8)
    pixels[:10] = 40
    masks = removal_masks(np.arange(400.0).reshape(20, 20), steps=2)
    gone, back = deleted(pixels, masks), inserted(pixels, masks)
    assert np.array_equal(gone[0], pixels)
    assert not gone[2].any()
    assert (gone[1][:10] == 40).all()
    assert not gone[1][10:].any()
    assert np.array_equal(back[2], pixels)
    assert np.array_equal(back[1][10:], pixels[10:])
    assert 40 < back[0][9, 0] < back[0][10, 0] < 200


def test_areas_of_known_curves() -> None:
    x = np.linspace(0, 1, 21)
    assert areas(
        np.stack([np.ones(21), x, np.zeros(21), np.maximum(0, 1 - 2 * x)])
    ) == pytest.approx([1, 0.5, 0, 0.25])


def test_similarity_of_scaled_inverted_and_unrelated_attributions() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((2, 64, 64))
    assert similarity(a, 7 * a) == pytest.approx((1, 1))
    assert similarity(a, 1 - a)[0] == pytest.approx(-1)
    correlation, ssim = similarity(a, b)
    assert abs(correlation) < 0.05
    assert ssim < 0.2
    expected = np.corrcoef(rankdata(a), rankdata(b))[0, 1]  # Spearman's is Pearson's of the ranks
    assert correlation == pytest.approx(expected)
    assert similarity(np.zeros((64, 64)), a)[0] == 0
