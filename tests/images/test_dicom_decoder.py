"""Compressed pixels of DICOM files, against other decoders."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    RLELossless,
)

from covidxr.images.dicom_decoder import decode_pixels
from covidxr.images.reading import read_image, read_radiograph
from tests.images.test_dicom import STORED, dicom, package_file


def test_transfer_syntaxes_give_the_same_image() -> None:
    plain = read_image(package_file("MR_small.dcm"), "x")
    assert plain.std() > 10
    for name in ("implicit", "bigendian", "RLE", "jpeg_ls_lossless", "jp2klossless"):
        assert np.array_equal(read_image(package_file(f"MR_small_{name}.dcm"), name), plain)
    colors = read_image(package_file("SC_rgb_rle.dcm"), "x").astype(int)
    # Lossy.
    for name in (
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ):
        assert np.abs(read_image(package_file(name), name) - colors).mean() < 2


@pytest.mark.parametrize(
    "name",
    [
        "JPGExtended.dcm",
        "693_J2KI.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "image_dfl.dcm",
        "ExplVR_BigEnd.dcm",
    ],
)
def test_further_transfer_syntaxes_are_decoded(name: str) -> None:
    radiograph = read_radiograph(package_file(name), name)
    assert radiograph.format == "DICOM"
    assert radiograph.image.std() > 1


def test_12_bit_jpeg_is_decoded_correctly() -> None:
    # The sum and the maximum of libjpeg-turbo's own decoding of this file.
    stored = decode_pixels(package_file("JPGExtended.dcm"), 1024 * 256, "x")
    assert (stored.shape, stored.dtype, int(stored.sum()), int(stored.max())) == (
        (1024, 256),
        np.dtype(np.uint16),
        3_767_007,
        264,
    )


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compression_by_pydicom_keeps_the_image(syntax: UID) -> None:
    plain = dcmread(
        io.BytesIO(dicom(np.tile(STORED, (10, 12)) * 4, WindowCenter=2500, WindowWidth=3000))
    )
    whole = io.BytesIO()
    plain.save_as(whole)
    plain.compress(syntax)
    packed = io.BytesIO()
    plain.save_as(packed)
    assert np.array_equal(read_image(packed.getvalue(), "x"), read_image(whole.getvalue(), "x"))
