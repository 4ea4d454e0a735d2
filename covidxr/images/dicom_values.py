"""Pixel values of DICOM files: padding, modality and VOI transformations (PS3.3 C.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom import Dataset

Values = npt.NDArray[np.float64]
"""Pixel values; float64 holds all integers of a DICOM file exactly."""


def is_padding(dataset: Dataset, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which stored values are padding, by PixelPaddingValue and PixelPaddingRangeLimit."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((int(value), int(value if limit is None else limit)))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]))


def modality_values(dataset: Dataset, values: Values) -> Values:
    """Apply the modality LUT, else the rescale, to stored values: PS3.3 C.11.1."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset, dataset.ModalityLUTSequence[0], values)[0]
    slope, intercept = _first(dataset.get("RescaleSlope")), _first(dataset.get("RescaleIntercept"))
    return values * (1.0 if slope is None else slope) + (intercept or 0.0)


def windowed(dataset: Dataset, values: Values) -> Values | None:
    """Apply the first VOI LUT, else the first window: PS3.3 C.11.2.

    Args:
        dataset: The file.
        values: From `modality_values`.

    Returns:
        Brightness, 0 to 1 within the window and beyond that outside; None without LUT or window.
    """
    if dataset.get("VOILUTSequence"):
        out, bits = _look_up(dataset, dataset.VOILUTSequence[0], values)
        return np.asarray(out / (2**bits - 1))
    window = _window(dataset)
    if window is None:
        return None
    center, width, function = window
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp((-4.0 * (values - center) / width).clip(-700, 700))))
    if function == "LINEAR_EXACT":
        return np.asarray((values - center) / width + 0.5)
    if width <= 1:  # a threshold
        return np.asarray(values > center - 0.5, dtype=np.float64)
    return np.asarray((values - (center - 0.5)) / (width - 1) + 0.5)


def window_ends(dataset: Dataset) -> tuple[float, float] | None:
    """Return the values that the first window shows black and white.

    None without a window, or with a VOI LUT, which takes precedence.
    """
    window = _window(dataset)
    if window is None or dataset.get("VOILUTSequence"):
        return None
    center, width, function = window
    if function == "LINEAR":
        center, width = center - 0.5, max(width - 1, 0.0)
    return center - width / 2, center + width / 2


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    """Center, width and function of the first window."""
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    # Some devices write a width of 0 for no window.
    if center is None or width is None or not width > 0:
        return None
    return center, width, str(dataset.get("VOILUTFunction") or "LINEAR")


def _look_up(dataset: Dataset, item: Dataset, values: Values) -> tuple[Values, int]:
    """Apply a LUT; return the result and the bits of the LUT. Values beyond it get its ends.

    pydicom's own function wraps around for LUTs of 8 bits with more than 256 entries.
    """
    entries, start, bits = (int(n) for n in item.LUTDescriptor)
    data = item.LUTData
    # OW: bytes in the byte order of the file. A LUT of 8 bits may be packed.
    if isinstance(data, bytes):
        wide = ("<" if dataset.original_encoding[1] is not False else ">") + "u2"
        data = np.frombuffer(data, dtype="u1" if len(data) == entries else wide)
    table = np.atleast_1d(np.asarray(data, dtype=np.float64))[: entries or 2**16]
    return table[(values - start).clip(0, len(table) - 1).astype(np.int64)], bits


def _first(value: object) -> float | None:
    """The first of one or several numbers; None if there is none."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return None if value in (None, "") else float(value)  # type: ignore[arg-type]
