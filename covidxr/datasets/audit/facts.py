"""What can be measured on each picture of a dataset without knowing what it shows: size, exposure, sharpness, writing."""

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
from covidxr.images.reading import read_image
from covidxr.storage import Arrays, cached_arrays

_VERSION = 1
"""Raise it when a measure changes: older caches are then measured anew."""
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")

Counts = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """One value an image, all (N,), in the order of `files`. Grey values and what is made of them lie in 0..255, shares in 0..1."""

    files: Texts
    width: Counts
    height: Counts
    format: Texts
    """PNG, JPEG, TIFF or DICOM, by content."""
    mode: Texts
    """Pillow's word for how the colours are stored: L is grey, RGB colour, P a palette, I;16 deep grey."""
    file_bytes: Counts
    pixel_hash: Texts
    """Digest of the size and the grey values: equal for equal pictures, however they were stored."""
    brightness: Numbers
    """Mean grey value."""
    contrast: Numbers
    """Standard deviation of the grey values."""
    sharpness: Numbers
    """Energy of the Laplacian over that of the gradient: the finer the detail, the larger, whatever the contrast; 1 is usual."""
    detail: Numbers
    """Interquartile range of the fine structure in the middle of the picture, in grey values; near 0 where there is none."""
    border: Numbers
    """Mean grey value of the outer sixteenth on each side."""
    black: Numbers
    """Share of black pixels."""
    white: Numbers
    """Share of white pixels."""
    black_middle: Numbers
    """Share of the middle (half the width, half the height) that is black and not joined to a black frame."""
    white_middle: Numbers
    """Share of the middle that is white."""
    colourfulness: Numbers
    """Hasler & Süsstrunk 2003, "Measuring colourfulness in natural images"; 0 for grey, 15 is slightly colourful."""
    letters: Counts
    """Most letter-like marks that stand side by side on one line, brighter or darker than what is around them."""
    polarity: Numbers
    """Correlation with the average picture of the dataset, -1..1; a negative image lies far below 0."""

    def take(self, files: Sequence[str]) -> Facts:
        """Return the facts of some files, in their order. Raises DatasetError for a file that was not measured."""
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
    """Return the facts of a dataset's samples, from the cache if it is whole and current, else measured on all cores.

    watch: told after each image how many of how many are measured; what it raises ends the measuring.
    Raises DatasetError naming the first sample that cannot be read; leave such samples out with `Dataset.without`.
    """
    place = cache_folder() / f"{dataset.fingerprint}-{dataset.state}-facts-v{_VERSION}.npz"
    everything = {s.file for s in dataset.samples} | {file for file, _ in dataset.skipped}

    def is_current(columns: Arrays) -> bool:
        files = columns["files"]
        whole = all(columns[name].shape == files.shape for name in _NAMES)
        return whole and {*files.tolist(), *columns["unreadable"].tolist()} == everything

    columns = cached_arrays(place, lambda: _measure_all(dataset, watch), is_current)
    facts = Facts(**{name: columns[name] for name in _NAMES})
    return facts.take([s.file for s in dataset.samples])


def _measure_all(dataset: Dataset, watch: Callable[[int, int], None]) -> Arrays:
    """Measure every image, those left out too, so that the cache serves the dataset with and without them."""
    names = [s.file for s in dataset.samples] + [file for file, _ in dataset.skipped]
    with dataset.files() as files, ThreadPoolExecutor(os.cpu_count()) as pool:

        def measure_one(file: str) -> dict[str, Any] | str:
            try:
                return measure_file(files.read(file), file)
            except (ImageError, DatasetError):
                return file

        # Pillow, numpy and scipy do most of this without holding the interpreter's lock, so threads use all cores.
        measured = pool.map(measure_one, names, chunksize=32)
        results = []
        try:
            for done, result in enumerate(
                tqdm(measured, total=len(names), desc="measuring", disable=None), start=1
            ):
                watch(done, len(names))
                results.append(result)
        except BaseException:
            pool.shutdown(
                wait=False, cancel_futures=True
            )  # or thousands of images would be measured first
            raise
    rows = [result for result in results if not isinstance(result, str)]
    unreadable = [result for result in results if isinstance(result, str)]
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows]) for name in _NAMES if name != "polarity"
    }
    # The average picture is known only now. Most pictures of a dataset are no negatives, so it is not one.
    layouts = np.array([row["layout"] for row in rows], dtype=np.float64).reshape(len(rows), -1)
    average = layouts.mean(axis=0) if rows else layouts.sum(axis=0)
    columns["polarity"] = layouts @ average / max(float(np.linalg.norm(average)), 1e-12)
    columns["unreadable"] = np.array(unreadable, dtype=np.str_).reshape(-1)
    return columns


def measure_file(content: bytes, name: str) -> dict[str, Any]:
    """Return the facts of one picture but its polarity, and its `layout`, (256,) centred and of unit length, or 0 if flat.

    Raises ImageError, naming `name`, for a file that is no picture.
    """
    grey = read_image(content, name)
    kind, mode, coloured = _storage(content)
    height, width = grey.shape
    counts = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    brightness = float(counts @ levels)
    rim = max(1, min(height, width) // 16)
    inner = grey[rim:-rim, rim:-rim]
    middle = grey[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return {
        "files": name,
        "width": width,
        "height": height,
        "format": kind,
        "mode": mode,
        "file_bytes": len(content),
        "pixel_hash": hashlib.blake2b(
            str(grey.shape).encode() + grey.tobytes(), digest_size=16
        ).hexdigest(),
        "brightness": brightness,
        "contrast": float(np.sqrt(counts @ (levels - brightness) ** 2)),
        "sharpness": sharpness(reduced(grey)),
        "detail": detail(grey),
        "border": (int(grey.sum()) - int(inner.sum())) / (grey.size - inner.size),
        "black": float(counts[: BLACK + 1].sum()),
        "white": float(counts[WHITE:].sum()),
        "black_middle": enclosed_black(grey),
        "white_middle": float((middle >= WHITE).mean()),
        "colourfulness": coloured,
        "letters": count_letters(grey),
        "layout": layout(grey),
    }


def _storage(content: bytes) -> tuple[str, str, float]:
    """Return format, mode and colourfulness; only pictures that may be coloured are decoded for it."""
    if content[128:132] == b"DICM":  # not Pillow's; a radiograph's colours are grey there
        return "DICOM", "L", 0.0
    with Image.open(io.BytesIO(content)) as stored:
        grey = stored.mode in _GREY_MODES or stored.mode.startswith("I;16")
        return str(stored.format), stored.mode, 0.0 if grey else _colourfulness(stored)


def _colourfulness(stored: Image.Image) -> float:
    """M of Hasler & Süsstrunk 2003: spread and mean of red - green and of yellow - blue."""
    rgb = stored.convert("RGB")
    rgb.thumbnail((224, 224))
    red, green, blue = np.asarray(rgb, dtype=np.float64).transpose(2, 0, 1)
    first, second = red - green, (red + green) / 2 - blue
    return float(np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean()))


Kind = tuple[int, int, str, str]
"""Width and height in pixels, format (PNG, JPEG, TIFF or DICOM), and Pillow's word for how the colours are stored."""


def count_kinds(dataset: Dataset) -> Counter[Kind]:
    """Return how many of a dataset's samples are stored in which way, from the cache if it is whole and current.

    Reading the headers of 16,000 small files takes some seconds. A file whose header cannot be read is not counted.
    """
    place = cache_folder() / f"{dataset.fingerprint}-{dataset.state}-headers-v{_VERSION}.npz"
    names = [sample.file for sample in dataset.samples]

    def make() -> Arrays:
        with dataset.files() as opened:
            kinds = [_kind(opened.read(name)) for name in names]
        sizes = np.array([kind[:2] for kind in kinds], dtype=np.int64).reshape(-1, 2)
        words = np.array([kind[2:] for kind in kinds], dtype=np.str_).reshape(-1, 2)
        return {"files": np.array(names), "sizes": sizes, "words": words}

    stored = cached_arrays(place, make, lambda arrays: arrays["files"].tolist() == names)
    rows = zip(stored["sizes"].tolist(), stored["words"].tolist(), strict=True)
    counted = Counter((w, h, kind, mode) for (w, h), (kind, mode) in rows)
    del counted[0, 0, "", ""]
    return counted


def _kind(content: bytes) -> Kind:
    """Return how one file is stored; a width of 0 where that cannot be told."""
    try:
        if content[128:132] == b"DICM":
            from pydicom import dcmread  # imported late: few datasets need it

            header = dcmread(
                io.BytesIO(content), specific_tags=["Rows", "Columns"], stop_before_pixels=True
            )
            return int(header.Columns), int(header.Rows), "DICOM", "L"
        with Image.open(io.BytesIO(content)) as picture:
            return picture.width, picture.height, str(picture.format), picture.mode
    except (OSError, ValueError, AttributeError, SyntaxError, Image.DecompressionBombError):
        return 0, 0, "", ""
