"""Levels against the 8-bit image that models get, and against numpy."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from covidxr.errors import ImageError
from covidxr.images.levels import Levels
from covidxr.images.reading import read_image, read_radiograph
from tests.images.test_dicom import RAMP, STORED, dicom
from tests.images.test_dicom_values import table


def read_levels(content: bytes, name: str) -> Levels:
    return read_radiograph(content, name).levels


def png(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


def windowed(levels) -> np.ndarray:
    """The image as a viewer draws it with the window of the levels."""
    units = levels.slope * levels.values + levels.intercept
    shares = ((units - levels.low) / max(levels.high - levels.low, 1e-9)).clip(0, 1)
    shares = 1 - shares if levels.negative else shares
    first, last = levels.padded or (1, 0)
    return np.where((levels.values >= first) & (levels.values <= last), 0, shares * 255)


LINEAR = [
    {"bits": 8},
    {},
    {"PhotometricInterpretation": "MONOCHROME1"},
    {"WindowCenter": 700, "WindowWidth": 900},
    {"WindowCenter": [700, 1], "WindowWidth": [900, 2], "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 50, "WindowWidth": 200, "RescaleSlope": 0.25, "RescaleIntercept": -100},
    {"WindowCenter": -900, "WindowWidth": 400, "RescaleSlope": -1.5, "RescaleIntercept": 3},
    {"PixelPaddingValue": 1500, "PhotometricInterpretation": "MONOCHROME1"},
    {
        "PixelPaddingValue": 1300,
        "PixelPaddingRangeLimit": 1500,
        "WindowCenter": 600,
        "WindowWidth": 1000,
    },
    {"PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 1},
]


@pytest.mark.parametrize("tags", LINEAR, ids=str)
def test_levels_and_window_of_a_dicom_file_give_the_8_bit_image(tags):
    stored = RAMP if tags.get("bits") == 8 else STORED - 700 * tags.get("PixelRepresentation", 0)
    content = dicom(stored, **tags)
    levels = read_levels(content, "x")
    expected = read_image(content, "x")
    assert np.array_equal(levels.grays[levels.values], expected)
    assert np.abs(windowed(levels) - expected).max() <= 0.5 + 1e-6
    units = (np.tile(stored, (8, 8)) if stored is not RAMP else RAMP) * tags.get(
        "RescaleSlope", 1
    ) + tags.get("RescaleIntercept", 0)
    assert np.allclose(levels.slope * levels.values + levels.intercept, units)


@pytest.mark.parametrize(
    "tags",
    [
        {"VOILUTSequence": [table(0, 8, [*range(0, 256, 2)])]},
        {"WindowCenter": 700, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"},
    ],
)
def test_nonlinear_windows_are_in_the_gray_values(tags):
    content = dicom(**tags)
    levels = read_levels(content, "x")
    assert np.array_equal(levels.grays[levels.values], read_image(content, "x"))
    assert levels.values.dtype == np.uint16
    assert (levels.low, levels.high) == ((0, 1500) if "VOILUTSequence" in tags else (550, 850))


def test_color_and_modality_luts_become_8_bits():
    for content in (
        dicom(np.dstack([RAMP, RAMP, RAMP // 2]), 8),
        dicom(ModalityLUTSequence=[table(0, 16, [*range(0, 3200, 2)])], RescaleSlope=None),
        png(np.dstack([RAMP, RAMP, RAMP // 2]).astype(np.uint8)),
    ):
        levels = read_levels(content, "x")
        assert levels.values.dtype == np.uint8
        assert np.array_equal(levels.grays[levels.values], read_image(content, "x"))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 65535), st.integers(1, 65535), st.integers(0, 2**32 - 1))
def test_16_bit_images_keep_every_value(first, span, seed):
    stored = (
        np.random.default_rng(seed)
        .integers(first, min(first + span, 65535) + 1, (32, 40))
        .astype(np.uint16)
    )
    content = png(stored)
    levels = read_levels(content, "x")
    assert np.array_equal(levels.values + levels.intercept, stored)
    assert np.array_equal(levels.grays[levels.values], read_image(content, "x"))
    assert (levels.low, levels.high) == (stored.min(), stored.max())


def test_the_span_excludes_padding():
    stored = np.tile(np.arange(30000, 30256, dtype=np.uint16).reshape(16, 16), (4, 4))
    stored[0] = 0
    padded = read_levels(
        dicom(stored, PixelPaddingValue=0, RescaleSlope=2, RescaleIntercept=-50), "x"
    )
    assert padded.span == (2 * 30000.0 - 50, 2 * 30255.0 - 50)
    assert read_levels(png(stored), "x").span == (0, 30255)
    assert read_levels(png(np.full((40, 40), 7, np.uint8)), "x").span == (0, 255)


def test_errors_name_the_file():
    for content in (b"", b"text", dicom()[:-900]):
        with pytest.raises(ImageError, match=r"scan\.x"):
            read_levels(content, "scan.x")


@pytest.mark.data
def test_a_real_radiograph_in_monochrome_1_and_2_has_the_same_levels(database):
    files = [
        (database.parent / "dicom" / f"chest-cr-monochrome{n}.dcm").read_bytes() for n in (1, 2)
    ]
    one, two = (read_levels(content, "x") for content in files)
    assert np.array_equal(one.values, two.values)
    for content, levels in zip(files, (one, two), strict=True):
        assert np.array_equal(levels.grays[levels.values], read_image(content, "x"))
        assert np.abs(windowed(levels) - read_image(content, "x")).max() <= 0.5 + 1e-6
    assert (one.negative, two.negative) == (True, False)
