"""PNG, JPEG and TIFF files to gray values, by Pillow."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from covidxr.errors import ImageError
from covidxr.images.levels import Levels, fitting, levels_of_gray
from covidxr.images.limits import MAX_PIXELS
from covidxr.images.metadata import metadata
from covidxr.images.radiograph import Radiograph, check_size
from covidxr.records import GrayImage

FORMATS = ("PNG", "JPEG", "TIFF")
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_REMEDY = "save it again as an 8- or 16-bit PNG, JPEG or TIFF"


def read_raster(content: bytes, name: str) -> Radiograph:
    """Decode a PNG, JPEG or TIFF file, upright as its EXIF orientation says.

    Values of more than 8 bits are scaled linearly from the lowest to the highest; transparency
    becomes black, color its luminance.

    Args:
        content: The file.
        name: Of the file, for the error.

    Returns:
        The radiograph, without its hash.

    Raises:
        ImageError: For anything that is not one image of a plausible size.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_geometry(image, name)
            kind, bits = str(image.format), _bits(image)
            if kind == "PNG":
                # Its texts may follow the pixels; a TIFF's directories are gone by then.
                image.load()
            dropped = metadata(image)
            levels = _levels(image, name)
            return Radiograph(levels.grays[levels.values], levels, kind, bits, dropped=dropped)
    except UnidentifiedImageError:
        raise ImageError(
            f"cannot read {name}: it is not a valid PNG, JPEG, TIFF or DICOM image; {_REMEDY}"
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
            f"cannot read {name}: the file is damaged or truncated ({error}); {_REMEDY}"
        ) from error


def _check_geometry(image: Image.Image, name: str) -> None:
    check_size(*image.size, name)
    frames = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and frames > 1:
        raise ImageError(
            f"cannot read {name}: it contains {frames} images; save the right one as its own file"
        )


def _bits(image: Image.Image) -> int:
    """Bits of a gray value; Pillow's modes I and F hold 32."""
    if image.mode.startswith("I;16"):
        return 16
    return 32 if image.mode in _DEEP_MODES else 1 if image.mode == "1" else 8


def _levels(image: Image.Image, name: str) -> Levels:
    """The levels of an image: up to 16 bits as they are; deeper, and color, in 8 bits."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in _DEEP_MODES:
        stored = np.asarray(image)
        if stored.dtype.kind in "iu":
            low, high = int(stored.min()), int(stored.max())
            if high - low < 2**16:
                grays = spread(np.arange(low, high + 1, dtype=np.float64), name)
                ends = float(low), float(high)
                values = fitting(stored.astype(np.int64) - low, len(grays))
                return Levels(values, grays, *ends, ends, intercept=float(low))
        return levels_of_gray(spread(stored.astype(np.float64), name))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    gray = image if image.mode == "L" else image.convert("RGB").convert("L")
    return levels_of_gray(np.asarray(gray, dtype=np.uint8))


def spread(values: npt.NDArray[np.float64], name: str) -> GrayImage:
    """Scale values linearly, the lowest to 0 and the highest to 255.

    Args:
        values: Of any shape.
        name: Of the file, for the error.

    Returns:
        uint8 of the same shape.

    Raises:
        ImageError: For values that are not finite.
    """
    if not np.isfinite(values).all():
        raise ImageError(f"cannot read {name}: it has pixel values that are not numbers; {_REMEDY}")
    low, high = values.min(), values.max()
    return np.asarray(np.rint((values - low) / max(high - low, 1.0) * 255), dtype=np.uint8)
