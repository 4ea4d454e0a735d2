"""Rescaling, windows, lookup tables and padding, by hand and against pydicom."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from covidxr.images.reading import read_image
from tests.images.test_dicom import STORED, dicom


def corner(content: bytes) -> list[list[int]]:
    """The first 4 x 4 pixels."""
    return read_image(content, "x")[:4, :4].tolist()  # type: ignore[no-any-return]


def table(first: int, bits: int, values: list[int]) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), first, bits], values
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return item


def test_windows_against_values_computed_by_hand() -> None:
    # PS3.3 C.11.2.1.2.1, center 600.5, width 401: y = ((x - 600) / 400 + 0.5) * 255, so 400 is
    # black, 800 white, and 500, 600, 700 are at a quarter, a half and three quarters between:
    # 63.75, 127.5 (rounded to even: 128), 191.25.
    expected = [[0, 0, 0, 0], [0, 64, 128, 191], [255] * 4, [255] * 4]
    assert corner(dicom(WindowCenter=600.5, WindowWidth=401)) == expected
    # The first of several windows counts.
    assert corner(dicom(WindowCenter=[600.5, 0], WindowWidth=[401, 9])) == expected
    inverted = [[255 - v for v in row] for row in expected]
    inverted[1] = [255, 191, 128, 64]  # 1 - share is rounded, not 255 - value
    assert (
        corner(dicom(WindowCenter=600.5, WindowWidth=401, PhotometricInterpretation="MONOCHROME1"))
        == inverted
    )
    # Exact: y = (x - c) / w + 0.5, so 500 and 700 are at 1/4 and 3/4 between 400 and 800.
    assert corner(dicom(WindowCenter=600, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))[1] == [
        0,
        64,
        128,
        191,
    ]
    # Sigmoid: 1 / (1 + exp(-4 (x - c) / w)) is 1/2 at the center, and 1 / (1 + e) = 0.2689 a
    # quarter of the width below.
    assert corner(dicom(WindowCenter=600, WindowWidth=400, VOILUTFunction="SIGMOID"))[1] == [
        30,
        69,
        128,
        186,
    ]


def test_the_rescale_comes_before_the_window() -> None:
    # Values 2 x - 800: 400 -> 0 is black, 800 -> 800 is white.
    content = dicom(RescaleSlope=2, RescaleIntercept=-800, WindowCenter=400.5, WindowWidth=801)
    assert corner(content)[1:3] == [[0, 64, 128, 191], [255] * 4]


def test_luts_are_applied_and_precede_windows() -> None:
    # 8-bit output for more than 256 input values; the ends of the LUT apply beyond it.
    content = dicom(
        VOILUTSequence=[table(100, 8, [v // 5 for v in range(1001)])], WindowCenter=1, WindowWidth=1
    )
    assert corner(content) == [[0, 0, 20, 40], [60, 80, 100, 120], [140, 160, 180, 200], [200] * 4]
    ten = dicom(STORED // 100, VOILUTSequence=[table(0, 10, [v * 64 for v in range(16)])])
    assert corner(ten)[3] == [round(v * 64 / 1023 * 255) for v in range(12, 16)]
    # The modality LUT comes first: it inverts the values, and with them the image.
    inverted = dicom(STORED // 100, ModalityLUTSequence=[table(0, 16, list(range(1500, -1, -100)))])
    assert corner(inverted) == [[255 - v for v in row] for row in corner(dicom())]


def test_deep_images_are_scaled_without_their_padding() -> None:
    assert corner(dicom()) == np.rint(STORED / 1500 * 255).astype(int).tolist()
    # Without the two extremes the range is 100 to 1400; padding is black in both interpretations.
    inner = np.rint((STORED - 100) / 1300 * 255).clip(0, 255).astype(int)
    inner[0, 0] = inner[3, 3] = 0
    padded = STORED.copy()
    padded[0, 0] = padded[3, 3] = 4000
    assert corner(dicom(padded, PixelPaddingValue=4000)) == inner.tolist()
    assert (
        corner(dicom(padded, PixelPaddingValue=4095, PixelPaddingRangeLimit=3900)) == inner.tolist()
    )
    inverted = corner(
        dicom(padded, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1")
    )
    assert (inverted[0][:2], inverted[3][2:]) == ([0, 255], [0, 0])
    signed = dicom(STORED - 1000, PixelRepresentation=1)
    assert corner(signed) == corner(dicom())


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.1, 9),
    st.integers(-2000, 2000),
    st.floats(-3000, 9000),
    st.floats(2, 9000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_windows_agree_with_pydicom(
    seed: int, slope: float, intercept: int, center: float, width: float, form: str, signed: bool
) -> None:
    low, high = (-2000, 2000) if signed else (0, 4000)
    stored = np.random.default_rng(seed).integers(low, high, (32, 32))
    tags: dict[str, Any] = {"RescaleSlope": f"{slope:.6f}", "RescaleIntercept": intercept}
    tags |= {"WindowCenter": f"{center:.4f}", "WindowWidth": f"{width:.4f}", "VOILUTFunction": form}
    content = dicom(stored, PixelRepresentation=int(signed), **tags)
    dataset = dcmread(io.BytesIO(content))
    modality = apply_modality_lut(dataset.pixel_array, dataset)
    values = apply_voi_lut(modality, dataset)
    # The range of pydicom's output is that of all possible rescaled values.
    ends = (-(2**15), 2**15 - 1) if signed else (0, 2**16 - 1)
    bottom, top = (
        float(dataset.RescaleSlope) * end + float(dataset.RescaleIntercept) for end in ends
    )
    expected = (values - bottom) / (top - bottom) * 255
    assert np.abs(read_image(content, "x") - expected).max() <= 0.5 + 1e-6
