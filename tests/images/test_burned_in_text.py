"""Planted names are found at every size; a clean image raises no suspicion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from covidxr.datasets.phantoms import render_phantom
from covidxr.images.burned_in_text import has_burned_in_text
from covidxr.images.reading import read_image
from covidxr.records import GrayImage

FONT = (
    Path(__file__).resolve().parents[2]
    / "covidxr"
    / "reports"
    / "fonts"
    / "DejaVuSansCondensed.ttf"
)


@pytest.fixture(scope="module")
def large() -> GrayImage:
    """A phantom of the size and noise of a real radiograph."""
    small = Image.fromarray(render_phantom("COVID", np.random.default_rng(0))[0])
    enlarged = np.asarray(small.resize((2000, 2000), Image.Resampling.BICUBIC), dtype=np.float64)
    return np.clip(enlarged + np.random.default_rng(0).normal(0, 8, enlarged.shape), 0, 255).astype(
        np.uint8
    )


def named(image: GrayImage, pixels: int, place: tuple[int, int]) -> GrayImage:
    """White text on a black box, as devices write it."""
    drawn, font = Image.fromarray(image), ImageFont.truetype(FONT, pixels)
    canvas = ImageDraw.Draw(drawn)
    canvas.rectangle(canvas.textbbox(place, "DOE JANE 1961", font), 0)
    canvas.text(place, "DOE JANE 1961", 255, font)
    return np.asarray(drawn)


@pytest.mark.parametrize("pixels", [20, 40, 80])
@pytest.mark.parametrize("place", [(30, 30), (1180, 1880)])
def test_a_planted_name_is_found_at_full_size(
    large: GrayImage, pixels: int, place: tuple[int, int]
) -> None:
    assert has_burned_in_text(named(large, pixels, place))


def test_a_clean_radiograph_raises_no_suspicion(large: GrayImage) -> None:
    assert not has_burned_in_text(large)
    assert not has_burned_in_text(large[:300])  # a stripe
    assert not has_burned_in_text(np.zeros((40, 3000), dtype=np.uint8))


@pytest.mark.data
def test_a_side_marker_alone_raises_no_suspicion(database: Path) -> None:
    content = (database.parent / "dicom" / "chest-cr-monochrome2.dcm").read_bytes()
    image = read_image(content, "x")
    assert not has_burned_in_text(image)
    assert has_burned_in_text(named(image, 16, (20, 20)))
