"""Picture files to grey pixels: what is read, how deep pictures are reduced to 8 bits, how they are made square."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from covidxr.errors import ImageError
from covidxr.images.limits import MAX_FILE_BYTES, MAX_PIXELS, MIN_EDGE
from covidxr.images.metadata import LeftOut, metadata
from covidxr.records import GreyImage

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
FORMATS = ("PNG", "JPEG", "TIFF")
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_CURE = "save it again as an 8- or 16-bit PNG, JPEG or TIFF"


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """A picture file as read: `image` (H, W) uint8, and what was noticed on the way. Nothing in it says whose picture it is."""

    image: GreyImage
    format: str
    """PNG, JPEG, TIFF or DICOM, by content."""
    bits: int
    """Bits of a grey value (or of a colour) in the file."""
    warnings: tuple[str, ...] = ()
    """Sentences for whoever reads the result."""
    refusals: tuple[str, ...] = ()
    """Sentences: what in the file says that no model may judge this picture."""
    dropped: tuple[LeftOut, ...] = ()
    """Elements of the header, or beside the pixels, that were left behind; never their values."""


def read_image(content: bytes, name: str) -> GreyImage:
    """Return the picture alone of `read_radiograph`, (H, W) uint8, whatever the file says against judging it."""
    return read_radiograph(content, name).image


def read_radiograph(content: bytes, name: str) -> Radiograph:
    """Decode a PNG, JPEG, TIFF or DICOM file into grey values, (H, W) uint8, upright as its EXIF orientation says.

    Pictures of more than 8 bits are spread linearly from their darkest to their brightest value; transparency becomes black.
    DICOM has rules of its own (`read_dicom`).
    The content decides, not the suffix. Raises ImageError, naming `name`, for anything that is not one picture of a sane size.
    """
    if not content:
        raise ImageError(f"cannot read {name}: the file is empty; export the picture again")
    if len(content) > MAX_FILE_BYTES:
        raise ImageError(
            f"cannot read {name}: {len(content):,} bytes are over the limit of {MAX_FILE_BYTES:,}; reduce it first"
        )
    if content[128:132] == b"DICM":
        from covidxr.images.dicom import read_dicom  # here, since that file needs this one

        return read_dicom(content, name)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check_geometry(picture, name)
            kind, bits = str(picture.format), _bits(picture)
            if kind == "PNG":
                picture.load()  # its texts may stand behind the pixels; a TIFF's directories are gone by then
            dropped = metadata(picture)
            return Radiograph(_to_grey(picture, name), kind, bits, dropped=dropped)
    except UnidentifiedImageError:
        raise ImageError(
            f"cannot read {name}: it is not a PNG, JPEG, TIFF or DICOM picture, whatever its name says; {_CURE}"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"cannot read {name}: it has more than {MAX_PIXELS:,} pixels; reduce it first"
        ) from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        MemoryError,
        OverflowError,
        TypeError,
    ) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise ImageError(
            f"cannot read {name}: the file is damaged or ends early ({error}); {_CURE}"
        ) from error


def check_size(width: int, height: int, name: str) -> None:
    """Raise ImageError, naming `name`, for a picture that is too large or too small to be a radiograph."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"cannot read {name}: {width:,} x {height:,} pixels is over the limit of {MAX_PIXELS:,}; reduce it first"
        )
    if min(width, height) < MIN_EDGE:
        raise ImageError(
            f"cannot read {name}: {width} x {height} pixels is too small; {MIN_EDGE} on the short side is the least"
        )


def _check_geometry(picture: Image.Image, name: str) -> None:
    check_size(*picture.size, name)
    frames = getattr(picture, "n_frames", 1)
    if picture.format == "TIFF" and frames > 1:
        raise ImageError(
            f"cannot read {name}: it holds {frames} pictures; save the one you mean by itself"
        )


def _bits(picture: Image.Image) -> int:
    """Bits of a grey value; Pillow's modes I and F hold 32."""
    return (
        16
        if picture.mode.startswith("I;16")
        else 32
        if picture.mode in _DEEP_MODES
        else 1
        if picture.mode == "1"
        else 8
    )


def _to_grey(picture: Image.Image, name: str) -> GreyImage:
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode in _DEEP_MODES:
        return spread(np.asarray(picture, dtype=np.float64), name)
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    return np.asarray(
        picture.convert("RGB").convert("L") if picture.mode != "L" else picture, dtype=np.uint8
    )


def spread(values: npt.NDArray[np.float64], name: str) -> GreyImage:
    """Spread values of any shape linearly, the least to 0 and the greatest to 255. Raises ImageError, naming `name`, for NaN."""
    if not np.isfinite(values).all():
        raise ImageError(f"cannot read {name}: it holds pixel values that are not numbers; {_CURE}")
    low, high = values.min(), values.max()
    return np.asarray(np.rint((values - low) / max(high - low, 1.0) * 255), dtype=np.uint8)


def padding(height: int, width: int) -> tuple[int, int, int, int]:
    """Return the black rows and columns (left, top, right, bottom) that make a picture of this size square and centred."""
    edge = max(height, width)
    left, top = (edge - width) // 2, (edge - height) // 2
    return left, top, edge - width - left, edge - height - top


def fit_to_square(image: GreyImage, size: int) -> GreyImage:
    """Pad a picture with black to a square, then resize it to (size, size) uint8, bicubic with antialiasing.

    Nothing is cropped and the aspect ratio stays. Training and serving both come through here, so they agree bit for bit.
    """
    picture = Image.fromarray(image)
    if picture.width != picture.height:
        picture = ImageOps.expand(picture, padding(*image.shape), fill=0)
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.uint8)
