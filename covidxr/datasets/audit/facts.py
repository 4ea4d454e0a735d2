"""Image properties measured without a model: size, exposure, sharpness, burned-in text."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from covidxr.config import cache_folder
from covidxr.datasets.dataset import Dataset
from covidxr.errors import DatasetError, ImageError
from covidxr.images.burned_in_text import count_letters
from covidxr.images.quality import (
    BLACK,
    WHITE,
    Numbers,
    detail,
    enclosed_black,
    layout,
    reduced,
    sharpness,
)
from covidxr.images.reading import is_dicom, read_image
from covidxr.storage import Arrays, cached_arrays

_VERSION = 1
"""Increase it when a measure changes, to measure again."""
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")

Counts = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Properties of N images, (N,) each; gray values are in 0..255, shares in 0..1."""

    files: Texts
    width: Counts
    height: Counts
    format: Texts
    """PNG, JPEG, TIFF or DICOM, by content."""
    mode: Texts
    """Pillow's color mode: L is gray, RGB color, P a palette, I;16 16-bit gray."""
    file_bytes: Counts
    pixel_hash: Texts
    """Digest of the size and the gray values: equal for equal images, in any file format."""
    brightness: Numbers
    """Mean gray value."""
    contrast: Numbers
    """Standard deviation of the gray values."""
    sharpness: Numbers
    """Energy of the Laplacian over that of the gradient, independent of contrast; about 1."""
    detail: Numbers
    """Interquartile range of the fine structure in the image center, in gray values."""
    border: Numbers
    """Mean gray value of the outer sixteenth on each side."""
    black: Numbers
    """Share of black pixels."""
    white: Numbers
    """Share of white pixels."""
    black_middle: Numbers
    """Share of the center (half of each edge) that is black; black borders do not count."""
    white_middle: Numbers
    """Share of the center that is white."""
    colourfulness: Numbers
    """Colorfulness by Hasler & Süsstrunk 2003; 0 for gray, 15 for slightly colorful."""
    letters: Counts
    """Most letter-like marks on one line, brighter or darker than their surroundings."""
    polarity: Numbers
    """Correlation with the mean image of the dataset, -1..1; far below 0 for inverted images."""

    def take(self, files: Sequence[str]) -> Facts:
        """Return the properties of some files, in their order.

        Raises:
            DatasetError: For a file that was not measured.
        """
        position = {file: row for row, file in enumerate(self.files.tolist())}
        missing = [file for file in files if file not in position]
        if missing:
            raise DatasetError(f"{len(missing)} files were not measured, the first is {missing[0]}")
        rows = np.array([position[file] for file in files], dtype=np.int64)
        return Facts(**{name: getattr(self, name)[rows] for name in _NAMES})


_NAMES = tuple(f.name for f in fields(Facts))


def measure(
    dataset: Dataset, watch: Callable[[int, int], None] = lambda done, total: None
) -> Facts:
    """Return the properties of a dataset's samples, from the cache or measured on all cores.

    Args:
        dataset: With N samples.
        watch: Receives the number of measured images and the total after each; what it raises
            stops the measurement.

    Raises:
        DatasetError: For a sample that cannot be read; exclude it with `Dataset.without`.
    """
    path = cache_folder() / f"{dataset.fingerprint}-{dataset.state}-facts-v{_VERSION}.npz"
    everything = {s.file for s in dataset.samples} | {file for file, _ in dataset.skipped}

    def is_current(columns: Arrays) -> bool:
        files = columns["files"]
        whole = all(columns[name].shape == files.shape for name in _NAMES)
        return whole and {*files.tolist(), *columns["unreadable"].tolist()} == everything

    columns = cached_arrays(path, lambda: _measure_all(dataset, watch), is_current)
    facts = Facts(**{name: columns[name] for name in _NAMES})
    return facts.take([s.file for s in dataset.samples])


def _measure_all(dataset: Dataset, watch: Callable[[int, int], None]) -> Arrays:
    """Measure every image, including excluded ones, so that exclusions do not change the cache."""
    names = [s.file for s in dataset.samples] + [file for file, _ in dataset.skipped]
    with dataset.files() as files, ThreadPoolExecutor(os.cpu_count()) as pool:

        def measure_one(file: str) -> dict[str, Any] | str:
            try:
                return measure_file(files.read(file), file)
            except (ImageError, DatasetError):
                return file

        # Pillow, numpy and scipy release the interpreter's lock, so threads use all cores.
        measured = pool.map(measure_one, names, chunksize=32)
        results = []
        progress = tqdm(measured, total=len(names), desc="measuring", disable=None)
        try:
            for done, result in enumerate(progress, start=1):
                watch(done, len(names))
                results.append(result)
        except BaseException:
            # Otherwise thousands of images would be measured first.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    rows = [result for result in results if not isinstance(result, str)]
    unreadable = [result for result in results if isinstance(result, str)]
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows]) for name in _NAMES if name != "polarity"
    }
    # The mean image is known only now. Few images of a dataset are inverted, so it is not.
    layouts = np.array([row["layout"] for row in rows], dtype=np.float64).reshape(len(rows), -1)
    average = layouts.mean(axis=0) if rows else layouts.sum(axis=0)
    columns["polarity"] = layouts @ average / max(float(np.linalg.norm(average)), 1e-12)
    columns["unreadable"] = np.array(unreadable, dtype=np.str_).reshape(-1)
    return columns


def measure_file(content: bytes, name: str) -> dict[str, Any]:
    """Return the properties of one image except its polarity, and its `layout` (256,).

    Raises:
        ImageError: For a file that is not an image.
    """
    gray = read_image(content, name)
    file_format, mode, colorfulness = _storage(content)
    height, width = gray.shape
    counts = np.bincount(gray.ravel(), minlength=256) / gray.size
    levels = np.arange(256)
    brightness = float(counts @ levels)
    rim = max(1, min(height, width) // 16)
    inner = gray[rim:-rim, rim:-rim]
    middle = gray[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return {
        "files": name,
        "width": width,
        "height": height,
        "format": file_format,
        "mode": mode,
        "file_bytes": len(content),
        "pixel_hash": hashlib.blake2b(
            str(gray.shape).encode() + gray.tobytes(), digest_size=16
        ).hexdigest(),
        "brightness": brightness,
        "contrast": float(np.sqrt(counts @ (levels - brightness) ** 2)),
        "sharpness": sharpness(reduced(gray)),
        "detail": detail(gray),
        "border": (int(gray.sum()) - int(inner.sum())) / (gray.size - inner.size),
        "black": float(counts[: BLACK + 1].sum()),
        "white": float(counts[WHITE:].sum()),
        "black_middle": enclosed_black(gray),
        "white_middle": float((middle >= WHITE).mean()),
        "colourfulness": colorfulness,
        "letters": count_letters(gray),
        "layout": layout(gray),
    }


def _storage(content: bytes) -> tuple[str, str, float]:
    """Return format, mode and colorfulness; only images that may have colors are decoded for it."""
    # DICOM is not read by Pillow, and its radiographs are gray.
    if is_dicom(content):
        return "DICOM", "L", 0.0
    with Image.open(io.BytesIO(content)) as stored:
        gray = stored.mode in _GRAY_MODES or stored.mode.startswith("I;16")
        return str(stored.format), stored.mode, 0.0 if gray else _colorfulness(stored)


def _colorfulness(stored: Image.Image) -> float:
    """M of Hasler & Süsstrunk 2003, "Measuring colourfulness in natural images"."""
    rgb = stored.convert("RGB")
    rgb.thumbnail((224, 224))
    red, green, blue = np.asarray(rgb, dtype=np.float64).transpose(2, 0, 1)
    first, second = red - green, (red + green) / 2 - blue
    return float(np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean()))


FileFormat = tuple[int, int, str, str]
"""Width and height in pixels, format (PNG, JPEG, TIFF or DICOM), and Pillow's color mode."""


def count_formats(dataset: Dataset) -> Counter[FileFormat]:
    """Count the sizes, formats and color modes of a dataset's samples, from the cache or headers.

    Reading 16,000 headers takes some seconds. A file with an unreadable header is not counted.
    """
    path = cache_folder() / f"{dataset.fingerprint}-{dataset.state}-headers-v{_VERSION}.npz"
    names = [sample.file for sample in dataset.samples]

    def make() -> Arrays:
        with dataset.files() as opened:
            formats = [_file_format(opened.read(name)) for name in names]
        sizes = np.array([one[:2] for one in formats], dtype=np.int64).reshape(-1, 2)
        words = np.array([one[2:] for one in formats], dtype=np.str_).reshape(-1, 2)
        return {"files": np.array(names), "sizes": sizes, "words": words}

    stored = cached_arrays(path, make, lambda arrays: arrays["files"].tolist() == names)
    rows = zip(stored["sizes"].tolist(), stored["words"].tolist(), strict=True)
    counted = Counter((w, h, *described) for (w, h), described in rows)
    del counted[0, 0, "", ""]
    return counted


def _file_format(content: bytes) -> FileFormat:
    """Return how one file is stored; a width of 0 where its header cannot be read."""
    try:
        if is_dicom(content):
            # Few datasets need it.
            from pydicom import dcmread

            header = dcmread(
                io.BytesIO(content), specific_tags=["Rows", "Columns"], stop_before_pixels=True
            )
            return int(header.Columns), int(header.Rows), "DICOM", "L"
        with Image.open(io.BytesIO(content)) as stored:
            return stored.width, stored.height, str(stored.format), stored.mode
    except (OSError, ValueError, AttributeError, SyntaxError, Image.DecompressionBombError):
        return 0, 0, "", ""
