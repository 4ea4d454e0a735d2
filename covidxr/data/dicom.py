"""DICOM files to grey pixels: modality table, then window, then MONOCHROME1, in the standard's order."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from covidxr.data.images import check_size
from covidxr.errors import ImageError
from covidxr.records import GreyImage

if TYPE_CHECKING:
    from pydicom import Dataset

Values = npt.NDArray[np.float64]
"""(H, W) pixel values; float64 holds all integers of a DICOM file exactly."""

_CURE = "export it again without compression, or as a PNG"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def read_dicom(content: bytes, name: str) -> GreyImage:
    """Decode a DICOM file of one picture into grey values, (H, W) uint8, 0 is black as a radiologist would see it.

    The modality table (or rescale), then the first VOI table (or window) is applied, then MONOCHROME1 is inverted. Without a
    window, pictures of 8 bits stay as they are and deeper ones are spread linearly from their darkest to their brightest value.
    Padding is black and has no say in the spread. Colour becomes its grey. Raises ImageError, naming `name`, for all else.
    """
    from pydicom import dcmread  # imported late: it costs a third of a second and most datasets hold no DICOM
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels.utils import pixel_array

    if _DEFLATED in content[132:1024]:  # inflating is unbounded: a small file could fill the memory before any check
        raise ImageError(f"cannot read {name}: DICOM files that are deflated as a whole are not opened; {_CURE}")
    try:
        dataset = dcmread(io.BytesIO(content))
        _check(dataset, name)
        stored = pixel_array(dataset)
        if dataset.SamplesPerPixel == 3:
            return _grey_of_colour(stored, name)
        return _grey(dataset, stored, name)
    except ImageError:
        raise
    except InvalidDicomError:
        raise ImageError(f"cannot read {name}: it is not a DICOM file, whatever its name says; {_CURE}") from None
    # pydicom reads lazily and its decoders are several libraries: a damaged file may raise nearly anything, at any of the steps.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"cannot read {name}: the DICOM file is damaged or of an unknown kind ({reason}); {_CURE}") from error


def _check(dataset: Dataset, name: str) -> None:
    """Refuse, before anything is decoded, what is not one picture of a sane size."""
    if "Rows" not in dataset or not any(k in dataset for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        what = dataset.get("Modality") or "no modality"
        raise ImageError(f"cannot read {name}: this DICOM file ({what}) holds no picture; choose the file that does")
    check_size(int(dataset.Columns), int(dataset.Rows), name)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(f"cannot read {name}: it holds {frames} frames, and one is allowed; save the one you mean by itself")
    samples, kind = int(dataset.get("SamplesPerPixel", 1)), str(dataset.get("PhotometricInterpretation", ""))
    if (samples, kind) not in [(1, "MONOCHROME1"), (1, "MONOCHROME2"), *((3, colour) for colour in _COLOURS)]:
        raise ImageError(
            f"cannot read {name}: pictures of {samples} x {kind or 'unnamed'} are not opened, only MONOCHROME1, MONOCHROME2, RGB "
            f"and YBR; {_CURE}"
        )


def _grey_of_colour(stored: npt.NDArray[Any], name: str) -> GreyImage:
    """The grey of (H, W, 3) RGB, such as a screenshot sent as a secondary capture."""
    if stored.dtype != np.uint8:
        raise ImageError(f"cannot read {name}: it is in colour of {stored.dtype.itemsize * 8} bits, and 8 are allowed; {_CURE}")
    return np.asarray(Image.fromarray(stored).convert("L"), dtype=np.uint8)


def _grey(dataset: Dataset, stored: npt.NDArray[Any], name: str) -> GreyImage:
    padded = _padding(dataset, stored)
    if padded.all():
        raise ImageError(f"cannot read {name}: every pixel has the padding value; there is no picture in the file")
    with np.errstate(over="ignore", invalid="ignore"):  # a rescale by infinity is refused just below
        values = _modality(dataset, stored.astype(np.float64))
    if not np.isfinite(values).all():
        raise ImageError(f"cannot read {name}: it holds pixel values that are not numbers; {_CURE}")
    shares = _window(dataset, values)
    if shares is None:
        plain = stored.dtype == np.uint8 and dataset.BitsStored == 8 and np.array_equal(values, stored)
        low, high = (0.0, 255.0) if plain else (values[~padded].min(), values[~padded].max())
        shares = (values - low) / max(high - low, 1e-9)
    shares = shares.clip(0.0, 1.0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1.0 - shares
    # Padding lies outside the picture, as does the black around one that is made square.
    return np.asarray(np.rint(np.where(padded, 0.0, shares) * 255), dtype=np.uint8)


def _padding(dataset: Dataset, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(H, W) whether a pixel only fills the rectangle, by PixelPaddingValue, to PixelPaddingRangeLimit where there is one."""
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
    if centre is None or width is None or not width > 0:  # some machines write a width of 0 where they mean none
        return None
    form = str(dataset.get("VOILUTFunction") or "LINEAR")
    if form == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp((-4.0 * (values - centre) / width).clip(-700, 700))))
    if form == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width <= 1:  # a threshold
        return np.asarray(values > centre - 0.5, dtype=np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


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
