"""Sharpness, detail and layout."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from covidxr.datasets.audit.facts import measure_file
from covidxr.datasets.phantoms import render_phantom
from covidxr.images.quality import detail, layout
from covidxr.records import CLASS_NAMES
from tests.datasets.audit.test_facts import phantom, saved

PHANTOMS = [render_phantom(name, np.random.default_rng(i))[0] for i, name in enumerate(CLASS_NAMES)]


def test_detail_and_layout_equal_those_of_the_audit() -> None:
    content = io.BytesIO()
    Image.fromarray(PHANTOMS[1]).save(content, "PNG")
    facts = measure_file(content.getvalue(), "x.png")
    assert detail(PHANTOMS[1]) == facts["detail"]
    assert layout(PHANTOMS[1]) == pytest.approx(facts["layout"])


def test_black_in_the_center_counts_unless_it_reaches_the_edge() -> None:
    image = np.full((64, 64), 100)
    image[20:30, 20:30] = 0
    assert measure_file(saved(image), "a")["black_middle"] == pytest.approx(100 / 32**2)
    image[25, :25] = 0  # a bridge to the left edge
    assert measure_file(saved(image), "a")["black_middle"] == 0


def test_sharpness_depends_on_blur_and_not_on_contrast_or_resolution() -> None:
    image = phantom()
    sharp = measure_file(saved(image), "a")["sharpness"]
    faint = measure_file(saved(np.asarray(image) * 0.5 + 50), "a")["sharpness"]
    blurred = [
        measure_file(saved(image.filter(ImageFilter.GaussianBlur(r))), "a")["sharpness"]
        for r in (1, 2, 3)
    ]
    assert faint == pytest.approx(sharp, rel=0.05)
    assert sharp > 1.5 * blurred[0] > 1.5 * blurred[1] > blurred[2]
    large = phantom(size=448)
    reduced = large.resize((224, 224), Image.Resampling.BICUBIC)
    assert (
        measure_file(saved(large), "a")["sharpness"]
        == measure_file(saved(reduced), "a")["sharpness"]
    )
