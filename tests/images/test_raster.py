"""PNG, JPEG and TIFF files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from covidxr.errors import ImageError
from covidxr.images.limits import MAX_PIXELS
from covidxr.images.reading import read_image, read_radiograph

RAMP = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8) * 2
NOISE = np.random.default_rng(0).integers(0, 256, (60, 60)).astype(np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a huge size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_images_are_read_exactly(kind: str) -> None:
    assert np.array_equal(read_image(encode(Image.fromarray(RAMP), kind), "x"), RAMP)


def test_color_with_equal_channels_is_their_gray_value() -> None:
    assert np.array_equal(read_image(encode(Image.fromarray(RAMP).convert("RGB")), "x"), RAMP)


def test_a_palette_image_becomes_its_luminance() -> None:
    image = Image.fromarray((RAMP > 80).astype(np.uint8), mode="P")
    image.putpalette([255, 0, 0, 255, 255, 255] + [0] * 762)
    gray = read_image(encode(image), "x")
    assert set(np.unique(gray)) == {76, 255}  # ITU-R 601: 0.299 * 255 = 76


def test_transparent_parts_are_black_not_white() -> None:
    rgba = np.full((40, 40, 4), 200, dtype=np.uint8)
    rgba[:20, :, 3] = 0
    rgba[20:, :, 3] = 255
    gray = read_image(encode(Image.fromarray(rgba, "RGBA")), "x")
    assert (gray[:20] == 0).all()
    assert (gray[20:] == 200).all()


def test_16_bits_are_scaled_from_lowest_to_highest() -> None:
    deep = np.linspace(1000, 3000, 40 * 40).reshape(40, 40).astype(np.uint16)
    gray = read_image(encode(Image.fromarray(deep)), "x")
    assert (gray.min(), gray.max()) == (0, 255)
    # 2000 is halfway between 1000 and 3000.
    assert (
        abs(int(gray.reshape(-1)[np.abs(deep.reshape(-1).astype(int) - 2000).argmin()]) - 128) <= 1
    )
    flat = read_image(encode(Image.fromarray(np.full((40, 40), 500, np.uint16))), "x")
    assert (flat == 0).all()


def test_cmyk_is_read() -> None:
    gray = read_image(encode(Image.fromarray(RAMP).convert("CMYK"), "JPEG", quality=100), "x")
    assert np.abs(gray.astype(int) - RAMP).max() <= 4


def test_the_exif_orientation_is_followed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees clockwise
    gray = read_image(encode(Image.fromarray(RAMP), "PNG", exif=exif), "x")
    assert np.array_equal(gray, np.rot90(RAMP, -1))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot read scan.png: the file is empty"),
        (b"this is a letter, not an image" * 9, "not a valid PNG, JPEG, TIFF or DICOM image"),
        (encode(Image.fromarray(NOISE))[:-400], "damaged or truncated"),
        (encode(Image.fromarray(NOISE), "JPEG")[:-900], "damaged or truncated"),
        (b"\0" * 128 + b"DICM" + b"\0" * 99, "the DICOM file is damaged|contains no image"),
        (bomb(60_000, 60_000), "pixels"),
        (bomb(9_000, 9_000), f"9,000 x 9,000 pixels exceed the limit of {MAX_PIXELS:,}"),
        (
            encode(Image.fromarray(RAMP[:20])),
            "60 x 20 pixels is too small; the short side needs at least 32",
        ),
        (
            encode(
                Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(RAMP)]
            ),
            "contains 2 images",
        ),
        (encode(Image.fromarray(RAMP), "BMP"), "not a valid PNG, JPEG, TIFF or DICOM"),
        (encode(Image.fromarray(np.full((40, 40), np.nan, np.float32)), "TIFF"), "not numbers"),
    ],
    ids=[
        "empty",
        "text",
        "cut-png",
        "cut-jpeg",
        "dicom",
        "bomb",
        "huge",
        "tiny",
        "pages",
        "bmp",
        "nan",
    ],
)
def test_errors_name_the_file(content: bytes, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        read_image(content, "scan.png")
    assert "scan.png" in str(caught.value)


@pytest.mark.parametrize(
    ("image", "kind", "bits"),
    [
        (Image.fromarray(RAMP), "JPEG", 8),
        (Image.fromarray(RAMP.astype(np.uint16) * 9), "PNG", 16),
        (Image.fromarray(RAMP.astype(np.float32)), "TIFF", 32),
        (Image.fromarray(RAMP > 50), "PNG", 1),
    ],
)
def test_format_and_bit_depth_are_reported(image: Image.Image, kind: str, bits: int) -> None:
    found = read_radiograph(encode(image, kind), "x")
    assert (found.format, found.bits, found.rejections, found.dropped) == (kind, bits, (), ())
