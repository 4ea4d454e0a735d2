"""DICOM files to gray values: modality LUT, VOI LUT or window, then MONOCHROME1."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from covidxr.errors import ImageError
from covidxr.images import dicom_header
from covidxr.images.burned_in_text import BURNED_IN_TEXT, MIN_LETTERS, count_letters
from covidxr.images.dicom_decoder import decode_pixels
from covidxr.images.dicom_values import Values, is_padding, modality_values, window_ends, windowed
from covidxr.images.levels import Levels, fitting, levels_of_gray
from covidxr.images.limits import MAX_FILE_BYTES
from covidxr.images.radiograph import Radiograph, check_size
from covidxr.records import GrayImage

if TYPE_CHECKING:
    from pydicom import Dataset

_REMEDY = "export it again without compression, or as a PNG"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def read_dicom(content: bytes, name: str) -> Radiograph:
    """Decode a DICOM file with one frame into gray values.

    The modality LUT (or rescale) is applied, then the first VOI LUT (or window), then MONOCHROME1
    is inverted. Without a window, 8-bit images keep their values and deeper ones are scaled
    linearly from the lowest to the highest value, padding excluded. Padding becomes black, color
    its luminance.

    Args:
        content: The file.
        name: Of the file, for the error.

    Returns:
        The radiograph, without its hash.

    Raises:
        ImageError: For anything that is not one image of a plausible size.
    """
    # Imported late: it takes a third of a second, and most datasets contain no DICOM.
    from pydicom import dcmread

    try:
        if _DEFLATED in content[132:1024]:
            _check_inflation(content, name)
        dataset = dcmread(io.BytesIO(content))
        _check(dataset, name)
        return _radiograph(dataset, _stored(dataset, content, name), name)
    except ImageError:
        raise
    # pydicom reads lazily and uses several decoders: damaged files raise nearly anything, anywhere.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(
            f"cannot read {name}: the DICOM file is damaged or unsupported ({reason}); {_REMEDY}"
        ) from error


def _radiograph(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> Radiograph:
    levels = _levels(dataset, stored, name)
    gray = levels.grays[levels.values]
    text = (BURNED_IN_TEXT,) if count_letters(gray) >= MIN_LETTERS else ()
    return Radiograph(
        gray,
        levels,
        "DICOM",
        int(dataset.get("BitsStored") or stored.dtype.itemsize * 8),
        dicom_header.warnings(dataset) + text,
        dicom_header.refusals(dataset),
        dicom_header.dropped(dataset),
    )


def _levels(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> Levels:
    """The levels of an image; those of its 8-bit gray values where its units are not linear."""
    if not _is_shallow(stored) or dataset.get("ModalityLUTSequence"):
        return levels_of_gray(_gray(dataset, stored, name))
    first, places, grays = _level_numbers(dataset, stored, name)
    levels = first + np.arange(len(grays))
    padded = np.flatnonzero(is_padding(dataset, levels))
    present = np.setdiff1d(
        np.flatnonzero(np.bincount(places.ravel(), minlength=len(grays))), padded
    )
    units = modality_values(dataset, levels.astype(np.float64))
    gray = _is_gray(dataset, levels.astype(stored.dtype), units)
    low, high = window_ends(dataset) or ((0.0, 255.0) if gray else _span(units[present]))
    if not np.isfinite((low, high)).all():
        return levels_of_gray(grays[places])
    return Levels(
        fitting(places, len(grays)),
        grays,
        low,
        high,
        _span(units[present]),
        dataset.PhotometricInterpretation == "MONOCHROME1",
        float(units[1] - units[0]) if len(units) > 1 else 1.0,
        float(units[0]),
        (int(padded[0]), int(padded[-1])) if len(padded) else None,
    )


def _check_inflation(content: bytes, name: str) -> None:
    """Reject a deflated file that would exhaust memory: pydicom inflates without a limit."""
    # After the meta information, whose first element is its length.
    start = 144 + int.from_bytes(content[140:144], "little")
    inflator, inflated, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, content[start:]
    while rest and not inflator.eof:
        inflated += len(inflator.decompress(rest, 1 << 20))
        rest = inflator.unconsumed_tail
        if inflated > MAX_FILE_BYTES:
            raise ImageError(
                f"cannot read {name}: it inflates to more than the limit of {MAX_FILE_BYTES:,} "
                f"bytes; {_REMEDY}"
            )


def _stored(dataset: Dataset, content: bytes, name: str) -> npt.NDArray[Any]:
    """The stored values, (H, W) or (H, W, 3) RGB."""
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != RLELossless:
        return decode_pixels(content, int(dataset.Rows) * int(dataset.Columns), name)
    # Needs pydicom and numpy only, which a damaged file cannot crash.
    return pixel_array(dataset)


def _check(dataset: Dataset, name: str) -> None:
    """Reject, before decoding, what is not one image of a plausible size."""
    pixels = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    if "Rows" not in dataset or not any(keyword in dataset for keyword in pixels):
        modality = dataset.get("Modality") or "no modality"
        raise ImageError(
            f"cannot read {name}: this DICOM object ({modality}) contains no image; "
            "choose the file that does"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(
            f"cannot read {name}: it contains {frames} frames, and one is allowed; "
            "save the right one as its own file"
        )
    check_size(int(dataset.Columns), int(dataset.Rows), name)
    samples = int(dataset.get("SamplesPerPixel", 1))
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric not in {1: ("MONOCHROME1", "MONOCHROME2"), 3: _COLORS}.get(samples, ()):
        raise ImageError(
            f"cannot read {name}: unsupported photometric interpretation "
            f"{photometric or '(missing)'}, samples per pixel {samples}; allowed are MONOCHROME1, "
            f"MONOCHROME2, RGB and YBR; {_REMEDY}"
        )


def _gray_of_color(stored: npt.NDArray[Any], name: str) -> GrayImage:
    """The luminance of (H, W, 3) RGB, such as a screenshot sent as a secondary capture."""
    if stored.dtype != np.uint8:
        raise ImageError(
            f"cannot read {name}: its color has {stored.dtype.itemsize * 8} bits per channel, "
            f"and 8 are allowed; {_REMEDY}"
        )
    return np.asarray(Image.fromarray(stored).convert("L"), dtype=np.uint8)


def _gray(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> GrayImage:
    """Stored values to gray values. Up to 16 bits, each level is computed once, then looked up."""
    if dataset.SamplesPerPixel == 3:
        return _gray_of_color(stored, name)
    if not _is_shallow(stored):
        return _gray_of_levels(dataset, stored, name)
    _, places, grays = _level_numbers(dataset, stored, name)
    return grays[places]


def _is_shallow(stored: npt.NDArray[Any]) -> bool:
    """Whether values are integers of up to 16 bits."""
    return stored.ndim == 2 and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2


def _level_numbers(
    dataset: Dataset, stored: npt.NDArray[Any], name: str
) -> tuple[int, npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """The lowest stored value, the level of each pixel above it, the gray value of each level."""
    low = int(stored.min())
    places = stored.astype(np.int32) - low
    present = np.flatnonzero(np.bincount(places.ravel()))
    grays = np.zeros(int(present[-1]) + 1, dtype=np.uint8)
    grays[present] = _gray_of_levels(dataset, (present + low).astype(stored.dtype), name)
    return low, places, grays


def _gray_of_levels(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """The gray values of stored values, of any shape."""
    padded = is_padding(dataset, stored)
    if padded.all():
        raise ImageError(
            f"cannot read {name}: every pixel is padding, so it contains no image; "
            "export the image again"
        )
    # Infinite rescales are rejected below.
    with np.errstate(over="ignore", invalid="ignore"):
        values = modality_values(dataset, stored.astype(np.float64))
    if not np.isfinite(values).all():
        raise ImageError(f"cannot read {name}: it has pixel values that are not numbers; {_REMEDY}")
    brightness = windowed(dataset, values)
    if brightness is None:
        low, high = (0.0, 255.0) if _is_gray(dataset, stored, values) else _span(values[~padded])
        brightness = (values - low) / max(high - low, 1e-9)
    brightness = brightness.clip(0.0, 1.0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        brightness = 1.0 - brightness
    # Padding is outside the image, like the black border that makes it square.
    return np.asarray(np.rint(np.where(padded, 0.0, brightness) * 255), dtype=np.uint8)


def _is_gray(dataset: Dataset, stored: npt.NDArray[Any], values: Values) -> bool:
    """Whether values are 8-bit gray values already."""
    return stored.dtype == np.uint8 and dataset.BitsStored == 8 and np.array_equal(values, stored)


def _span(values: Values) -> tuple[float, float]:
    return float(values.min()), float(values.max())
