"""The choice of a reader by the content of a file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from covidxr.errors import ImageError
from covidxr.images.reading import read_image
from tests.images.test_dicom import dicom
from tests.images.test_raster import RAMP, encode


def test_the_content_determines_the_format() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(buffer, format="PNG")
    assert np.array_equal(read_image(buffer.getvalue(), "scan.dcm"), RAMP)
    assert np.array_equal(read_image(dicom(RAMP, 8), "scan.png"), RAMP)


def test_too_many_bytes_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covidxr.images.reading.MAX_FILE_BYTES", 10)
    with pytest.raises(ImageError, match="bytes exceed the limit of 10;"):
        read_image(encode(Image.fromarray(RAMP)), "x")
