"""Metadata of image files: planted, listed by name, and never read."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from covidxr.images.reading import read_radiograph

RAMP = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1)))
SECRET = "Meier Anna"


def saved(kind: str, **more: Any) -> bytes:
    content = io.BytesIO()
    RAMP.save(content, kind, **more)
    return content.getvalue()


def exif() -> Image.Exif:
    made = Image.Exif()
    made[ExifTags.Base.Artist] = made[ExifTags.Base.ImageDescription] = SECRET
    made[ExifTags.Base.DateTime] = "2020:03:12 14:55:00"
    made[ExifTags.Base.Orientation] = 1  # used, so not listed
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = SECRET
    made.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (44.0, 26.0, 0.0)
    return made


def texts() -> PngInfo:
    made = PngInfo()
    made.add_text("Author", SECRET)
    made.add_itxt(SECRET, "a name that somebody typed", zip=True)
    made.add_itxt("XML:com.adobe.xmp", f"<x>{SECRET}</x>")
    return made


OF_EXIF = {
    ("Artist", "Person"),
    ("ImageDescription", "Camera, software or text"),
    ("DateTime", "Date or time"),
    ("UserComment", "Camera, software or text"),
    ("GPS position", "Place"),
}


NOT_IN_TIFF = {("GPS position", "Place"), ("UserComment", "Camera, software or text")}
"""Pillow does not write these."""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved("PNG"), set()),
        (saved("JPEG"), set()),
        (saved("TIFF"), set()),
        (saved("JPEG", exif=exif()), OF_EXIF),
        (saved("PNG", exif=exif()), OF_EXIF),
        (saved("TIFF", exif=exif()), OF_EXIF - NOT_IN_TIFF),
        (saved("JPEG", comment=SECRET.encode()), {("Comment", "Text or profile")}),
        (
            saved("JPEG", xmp=b"<x/>", icc_profile=b"profile"),
            {("XMP", "Text or profile"), ("Color profile", "Text or profile")},
        ),
        (
            saved("PNG", pnginfo=texts()),
            {
                ("Author", "Person"),
                ("Other text", "Camera, software or text"),
                ("XMP", "Text or profile"),
            },
        ),
    ],
    ids=[
        "png",
        "jpeg",
        "tiff",
        "jpeg-exif",
        "png-exif",
        "tiff-exif",
        "comment",
        "blocks",
        "png-texts",
    ],
)
def test_names_are_listed_and_values_are_not_kept(
    content: bytes, expected: set[tuple[str, str]]
) -> None:
    found = read_radiograph(content, "x")
    assert {(one.name, one.kind) for one in found.dropped} == expected
    assert "Meier" not in repr(found)


def test_metadata_that_crash_pillow_do_not_prevent_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise struct.error("unpack requires a buffer of 2 bytes")

    content = saved("JPEG", exif=exif())
    monkeypatch.setattr(Image.Exif, "get_ifd", fail)
    found = read_radiograph(content, "x")
    assert found.image.shape == (64, 64)
    assert [one.name for one in found.dropped] == ["Unreadable metadata"]


def test_text_after_the_pixels_is_found() -> None:
    whole, plain = saved("PNG", pnginfo=texts()), saved("PNG")
    start, end = whole.index(b"tEXt") - 4, whole.index(b"IDAT") - 4
    behind = plain[:-12] + whole[start:end] + plain[-12:]
    assert "Author" in {one.name for one in read_radiograph(behind, "x").dropped}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_metadata_does_not_prevent_reading() -> None:
    content = saved("JPEG", exif=exif())
    place = content.index(b"Exif\0\0") + 14
    broken = content[:place] + b"\xff" * 30 + content[place + 30 :]
    found = read_radiograph(broken, "x")
    assert found.image.shape == (64, 64)
    assert "Meier" not in repr(found)
