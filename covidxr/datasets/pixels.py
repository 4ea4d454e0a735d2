"""Pixel cache: every image of a dataset, or what is derived from it, as one uint8 memory map."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from tqdm import tqdm

from covidxr.config import cache_folder
from covidxr.datasets.dataset import Dataset
from covidxr.errors import DatasetError, ImageError
from covidxr.images.radiograph import fit_to_square
from covidxr.images.reading import read_image
from covidxr.records import GrayImage
from covidxr.storage import new_folder, to_json, write_text

_AT_ONCE = 16
_VERSION = 1
"""Increase it when `read_image` or `fit_to_square` return other pixels, to rebuild caches."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Decoded images: `array` is (N, S, S) uint8, read-only, in the order of `files`."""

    files: tuple[str, ...]
    array: npt.NDArray[np.uint8]
    skipped: tuple[tuple[str, str], ...]
    """Images that could not be decoded, each with the reason; they have no row."""

    def rows(self, files: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each file.

        Raises:
            DatasetError: For a file that has no row.
        """
        position = {file: row for row, file in enumerate(self.files)}
        missing = [file for file in files if file not in position]
        if missing:
            raise DatasetError(
                f"{len(missing)} files are not among the decoded images, the first is {missing[0]}"
            )
        return np.array([position[file] for file in files], dtype=np.int64)


def cached_at(dataset: Dataset, size: int) -> Path:
    """Return the folder of a dataset's decoded images, whether it exists or not."""
    return place_of(dataset, f"{size}px")


def place_of(dataset: Dataset, name: str) -> Path:
    """Return the folder of a cache named as in `derive`, whether it exists or not."""
    return cache_folder() / f"{dataset.fingerprint}-{dataset.state}-{name}-v{_VERSION}"


def decode(
    dataset: Dataset,
    size: int,
    skip_unreadable: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Pixels:
    """Return the dataset's images at (size, size), from the cache or decoded on all cores.

    Args:
        dataset: With N samples.
        size: Edge in pixels.
        skip_unreadable: Whether to skip images that cannot be read.
        watch: Receives the number of decoded images and the total after each; what it raises
            stops the decoding.

    Raises:
        DatasetError: When an image cannot be read, unless `skip_unreadable`.
    """
    return derive(
        dataset,
        f"{size}px",
        (size, size),
        lambda image, file: fit_to_square(image, size),
        skip_unreadable,
        watch,
        f"decoding to {size} px",
    )


def derive(
    dataset: Dataset,
    name: str,
    shape: tuple[int, int],
    make: Callable[[GrayImage, str], npt.NDArray[np.uint8]],
    skip_unreadable: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
    label: str | None = None,
) -> Pixels:
    """Return an array derived from each image, cached as by `decode`.

    Args:
        dataset: With N samples.
        name: Of the cache; must change when `make` does.
        shape: Of the array of one image.
        make: (image, file name) -> uint8 array of `shape`.
        skip_unreadable: Whether to skip images that cannot be read.
        watch: As in `decode`.
        label: Of the progress bar.
    """
    place = place_of(dataset, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        pixels = _load(place, dataset, shape)
        if pixels is None:
            _build(place, dataset, shape, make, watch, label or name)
            pixels = _load(place, dataset, shape)
    if pixels is None:
        raise DatasetError(
            f"the decoded pixels in {place} cannot be read back; check whether the disk is full"
        )
    if pixels.skipped and not skip_unreadable:
        file, reason = pixels.skipped[0]
        others = len(pixels.skipped) - 1
        more = f" ({others} more cannot be read either)" if others else ""
        raise DatasetError(
            f"{file}: {reason}{more}; replace or remove it, or skip unreadable images with "
            "--skip-unreadable"
        )
    return pixels


def _load(place: Path, dataset: Dataset, shape: tuple[int, int]) -> Pixels | None:
    """Open a complete cache; None if it is missing, damaged or of other files."""
    try:
        index = json.loads((place / "index.json").read_text("utf-8"))
        array = np.load(place / "pixels.npy", mmap_mode="r", allow_pickle=False)
        files, skipped = tuple(index["files"]), tuple((str(f), str(r)) for f, r in index["skipped"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = array.shape == (len(files), *shape) and array.dtype == np.uint8
    expected = {s.file for s in dataset.samples} | {f for f, _ in dataset.skipped}
    current = whole and {*files, *(f for f, _ in skipped)} == expected
    return Pixels(files, array, skipped) if current else None


def _build(
    place: Path,
    dataset: Dataset,
    shape: tuple[int, int],
    make: Callable[[GrayImage, str], npt.NDArray[np.uint8]],
    watch: Callable[[int, int], None],
    label: str,
) -> None:
    """Decode every image, including the skipped ones, into a new cache; written atomically."""
    names = [s.file for s in dataset.samples] + [f for f, _ in dataset.skipped]
    with dataset.files() as files, new_folder(place) as folder:

        def decode_some(some: list[str]) -> list[npt.NDArray[np.uint8] | str]:
            results: list[npt.NDArray[np.uint8] | str] = []
            for file in some:
                try:
                    results.append(make(read_image(files.read(file), file), file))
                except (ImageError, DatasetError) as error:
                    results.append(str(error))
            return results

        unreadable: dict[str, str] = {}
        array = np.lib.format.open_memmap(
            folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(names), *shape)
        )
        # Reserve the space: on a full disk, writing to the memory map would kill the process.
        if hasattr(os, "posix_fallocate"):
            with (folder / "pixels.npy").open("r+b") as reserved:
                os.posix_fallocate(reserved.fileno(), 0, (folder / "pixels.npy").stat().st_size)
        kept: list[str] = []
        # Pillow releases the interpreter's lock, so threads use all cores. One image at a time
        # per thread would be 10% slower.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoded = pool.map(
                decode_some,
                [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)],
            )
            progress = tqdm(
                chain.from_iterable(decoded), total=len(names), desc=label, disable=None
            )
            try:
                for done, (file, result) in enumerate(zip(names, progress, strict=True), start=1):
                    watch(done, len(names))
                    if isinstance(result, str):
                        unreadable[file] = result
                    else:
                        array[len(kept)] = result
                        kept.append(file)
            except BaseException:
                # Otherwise thousands of images would be decoded first.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        array.flush()
        if unreadable:
            np.save(folder / "pixels.npy", np.array(array[: len(kept)]))
        write_text(
            folder / "index.json", to_json({"files": kept, "skipped": list(unreadable.items())})
        )
