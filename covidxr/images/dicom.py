"""DICOM files to grey pixels: modality table, then window, then MONOCHROME1, in the standard's order."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from covidxr.errors import ImageError
from covidxr.images import dicom_header
from covidxr.images.burned_in_text import BURNED_IN_TEXT, MIN_LETTERS, count_letters
from covidxr.images.dicom_decoder import decode_pixels
from covidxr.images.levels import Levels, fitting, of_greys
from covidxr.images.limits import MAX_FILE_BYTES
from covidxr.images.radiograph import Radiograph, check_size
from covidxr.records import GreyImage

if TYPE_CHECKING:
    from pydicom import Dataset

Values = npt.NDArray[np.float64]
"""Pixel values; float64 holds all integers of a DICOM file exactly."""

_CURE = "export it again without compression, or as a PNG"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def read_dicom(content: bytes, name: str) -> Radiograph:
    """Decode a DICOM file of one picture into grey values, (H, W) uint8, 0 is black as a radiologist would see it.

    The modality table (or rescale), then the first VOI table (or window) is applied, then MONOCHROME1 is inverted. Without a
    window, pictures of 8 bits stay as they are and deeper ones are spread linearly from their darkest to their brightest value.
    Padding is black and has no say in the spread. Colour becomes its grey. Raises ImageError, naming `name`, for all else.
    """
    from pydicom import (
        dcmread,  # imported late: it costs a third of a second and most datasets hold no DICOM
    )
    from pydicom.errors import InvalidDicomError

    try:
        if _DEFLATED in content[132:1024]:
            _check_inflation(content, name)
        dataset = dcmread(io.BytesIO(content))
        _check(dataset, name)
        return _radiograph(dataset, _stored(dataset, content, name), name)
    except ImageError:
        raise
    except InvalidDicomError:
        raise ImageError(
            f"cannot read {name}: it is not a DICOM file, whatever its name says; {_CURE}"
        ) from None
    # pydicom reads lazily and its decoders are several libraries: a damaged file may raise nearly anything, at any of the steps.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(
            f"cannot read {name}: the DICOM file is damaged or of an unknown kind ({reason}); {_CURE}"
        ) from error


def _radiograph(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> Radiograph:
    levels = _levels(dataset, stored, name)
    grey = levels.greys[levels.values]
    return Radiograph(
        grey,
        levels,
        "DICOM",
        int(dataset.get("BitsStored") or stored.dtype.itemsize * 8),
        dicom_header.warnings(dataset) + _writing(grey),
        dicom_header.refusals(dataset),
        dicom_header.dropped(dataset),
    )


def _levels(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> Levels:
    """The levels of the picture; its greys alone for colour, for too many, and where no line leads to their units."""
    if not _few(stored) or dataset.get("ModalityLUTSequence"):
        return of_greys(_grey(dataset, stored, name))
    first, places, greys = _placed(dataset, stored, name)
    levels = first + np.arange(len(greys))
    padded = np.flatnonzero(_padding(dataset, levels))
    own = np.setdiff1d(np.flatnonzero(np.bincount(places.ravel(), minlength=len(greys))), padded)
    units = _modality(dataset, levels.astype(np.float64))
    plain = _plain(dataset, levels.astype(stored.dtype), units)
    low, high = _ends(dataset) or ((0.0, 255.0) if plain else _span(units[own]))
    if not np.isfinite((low, high)).all():
        return of_greys(greys[places])
    return Levels(
        fitting(places, len(greys)),
        greys,
        low,
        high,
        _span(units[own]),
        dataset.PhotometricInterpretation == "MONOCHROME1",
        float(units[1] - units[0]) if len(units) > 1 else 1.0,
        float(units[0]),
        (int(padded[0]), int(padded[-1])) if len(padded) else None,
    )


def _writing(grey: GreyImage) -> tuple[str, ...]:
    return (BURNED_IN_TEXT,) if count_letters(grey) >= MIN_LETTERS else ()


def _check_inflation(content: bytes, name: str) -> None:
    """Refuse a file, deflated as a whole, that would fill the memory: pydicom inflates without an end."""
    start = 144 + int.from_bytes(
        content[140:144], "little"
    )  # after the meta information, whose length is its first element
    inflator, inflated, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, content[start:]
    while rest and not inflator.eof:
        inflated += len(inflator.decompress(rest, 1 << 20))
        rest = inflator.unconsumed_tail
        if inflated > MAX_FILE_BYTES:
            raise ImageError(
                f"cannot read {name}: it inflates to more than the limit of {MAX_FILE_BYTES:,} bytes; {_CURE}"
            )


def _stored(dataset: Dataset, content: bytes, name: str) -> npt.NDArray[Any]:
    """The values in the file, (H, W) or (H, W, 3) RGB."""
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != RLELossless:
        return decode_pixels(content, int(dataset.Rows) * int(dataset.Columns), name)
    return pixel_array(dataset)  # of pydicom and numpy alone, which a damaged file cannot crash


def _check(dataset: Dataset, name: str) -> None:
    """Refuse, before anything is decoded, what is not one picture of a sane size."""
    if "Rows" not in dataset or not any(
        k in dataset for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    ):
        what = dataset.get("Modality") or "no modality"
        raise ImageError(
            f"cannot read {name}: this DICOM file ({what}) holds no picture; choose the file that does"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(
            f"cannot read {name}: it holds {frames} frames, and one is allowed; save the one you mean by itself"
        )
    check_size(int(dataset.Columns), int(dataset.Rows), name)
    samples, kind = (
        int(dataset.get("SamplesPerPixel", 1)),
        str(dataset.get("PhotometricInterpretation", "")),
    )
    if (samples, kind) not in [
        (1, "MONOCHROME1"),
        (1, "MONOCHROME2"),
        *((3, colour) for colour in _COLOURS),
    ]:
        raise ImageError(
            f"cannot read {name}: pictures of {samples} x {kind or 'unnamed'} are not opened, only MONOCHROME1, MONOCHROME2, RGB "
            f"and YBR; {_CURE}"
        )


def _grey_of_colour(stored: npt.NDArray[Any], name: str) -> GreyImage:
    """The grey of (H, W, 3) RGB, such as a screenshot sent as a secondary capture."""
    if stored.dtype != np.uint8:
        raise ImageError(
            f"cannot read {name}: it is in colour of {stored.dtype.itemsize * 8} bits, and 8 are allowed; {_CURE}"
        )
    return np.asarray(Image.fromarray(stored).convert("L"), dtype=np.uint8)


def _grey(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> GreyImage:
    """Stored values to grey values. Those of up to 16 bits are few: each is worked out once, then looked up."""
    if dataset.SamplesPerPixel == 3:
        return _grey_of_colour(stored, name)
    if not _few(stored):
        return _grey_of_levels(dataset, stored, name)
    _, places, greys = _placed(dataset, stored, name)
    return greys[places]


def _few(stored: npt.NDArray[Any]) -> bool:
    return stored.ndim == 2 and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2


def _placed(
    dataset: Dataset, stored: npt.NDArray[Any], name: str
) -> tuple[int, npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """The lowest stored value, by how many steps each pixel lies above it, and the grey of each step."""
    low = int(stored.min())
    places = stored.astype(np.int32) - low
    present = np.flatnonzero(np.bincount(places.ravel()))
    greys = np.zeros(int(present[-1]) + 1, dtype=np.uint8)
    greys[present] = _grey_of_levels(dataset, (present + low).astype(stored.dtype), name)
    return low, places, greys


def _grey_of_levels(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """What a radiologist would see of stored values, in an array of any shape."""
    padded = _padding(dataset, stored)
    if padded.all():
        raise ImageError(
            f"cannot read {name}: every pixel has the padding value; there is no picture in the file"
        )
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # a rescale by infinity is refused just below
        values = _modality(dataset, stored.astype(np.float64))
    if not np.isfinite(values).all():
        raise ImageError(f"cannot read {name}: it holds pixel values that are not numbers; {_CURE}")
    shares = _window(dataset, values)
    if shares is None:
        low, high = (0.0, 255.0) if _plain(dataset, stored, values) else _span(values[~padded])
        shares = (values - low) / max(high - low, 1e-9)
    shares = shares.clip(0.0, 1.0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1.0 - shares
    # Padding lies outside the picture, as does the black around one that is made square.
    return np.asarray(np.rint(np.where(padded, 0.0, shares) * 255), dtype=np.uint8)


def _plain(dataset: Dataset, stored: npt.NDArray[Any], values: Values) -> bool:
    """Whether values are greys as they stand."""
    return stored.dtype == np.uint8 and dataset.BitsStored == 8 and np.array_equal(values, stored)


def _span(values: Values) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _padding(dataset: Dataset, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether a value only fills the rectangle, by PixelPaddingValue, to PixelPaddingRangeLimit where there is one."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((int(value), int(value if limit is None else limit)))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]))


def _modality(dataset: Dataset, values: Values) -> Values:
    """Stored values to those of the modality: PS3.3 C.11.1."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset, dataset.ModalityLUTSequence[0], values)[0]
    slope, intercept = _first(dataset.get("RescaleSlope")), _first(dataset.get("RescaleIntercept"))
    return values * (1.0 if slope is None else slope) + (intercept or 0.0)


def _window(dataset: Dataset, values: Values) -> Values | None:
    """Values to shares of the brightness, by the first VOI table, else by the first window; None without either: PS3.3 C.11.2."""
    if dataset.get("VOILUTSequence"):
        out, bits = _look_up(dataset, dataset.VOILUTSequence[0], values)
        return np.asarray(out / (2**bits - 1))
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if (
        centre is None or width is None or not width > 0
    ):  # some machines write a width of 0 where they mean none
        return None
    form = str(dataset.get("VOILUTFunction") or "LINEAR")
    if form == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp((-4.0 * (values - centre) / width).clip(-700, 700))))
    if form == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width <= 1:  # a threshold
        return np.asarray(values > centre - 0.5, dtype=np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


def _ends(dataset: Dataset) -> tuple[float, float] | None:
    """The values that the first window shows black and white; None without one, and where a table takes its place."""
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if dataset.get("VOILUTSequence") or centre is None or width is None or not width > 0:
        return None
    if str(dataset.get("VOILUTFunction") or "LINEAR") == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 0.0)
    return centre - width / 2, centre + width / 2


def _look_up(dataset: Dataset, item: Dataset, values: Values) -> tuple[Values, int]:
    """Take values through a table; return them, and the table's bits. Values beyond its ends get those of its ends.

    Written out since pydicom's own wraps around where a table of 8 bits has more than 256 entries.
    """
    entries, start, bits = (int(n) for n in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):  # OW, in the file's byte order; a table of 8 bits may be packed
        wide = ("<" if dataset.original_encoding[1] is not False else ">") + "u2"
        data = np.frombuffer(data, dtype="u1" if len(data) == entries else wide)
    table = np.atleast_1d(np.asarray(data, dtype=np.float64))[: entries or 2**16]
    return table[(values - start).clip(0, len(table) - 1).astype(np.int64)], bits


def _first(value: object) -> float | None:
    """The first of one or several numbers; None where there is none."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return None if value in (None, "") else float(value)  # type: ignore[arg-type]
