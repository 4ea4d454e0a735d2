"""How the pictures of a dataset are stored: their sizes, formats and colour modes, read off their headers; nothing is decoded."""

from __future__ import annotations

import io
import zipfile
from collections import Counter

import numpy as np
from filelock import FileLock
from PIL import Image

from covidxr.config import cache_folder
from covidxr.datasets.dataset import Dataset
from covidxr.storage import write_bytes

_VERSION = 1

Kind = tuple[int, int, str, str]
"""Width and height in pixels, format (PNG, JPEG, TIFF or DICOM), and Pillow's word for how the colours are stored."""


def count_kinds(dataset: Dataset) -> Counter[Kind]:
    """Return how many of a dataset's samples are stored in which way, from the cache if it is whole and current.

    Reading the headers of 16,000 small files takes some seconds. A file whose header cannot be read is not counted.
    """
    place = cache_folder() / f"{dataset.fingerprint}-{dataset.state}-headers-v{_VERSION}.npz"
    place.parent.mkdir(parents=True, exist_ok=True)
    names = [sample.file for sample in dataset.samples]
    with FileLock(f"{place}.lock"):
        try:
            with np.load(place, allow_pickle=False) as stored:
                files, sizes, words = (
                    stored["files"].tolist(),
                    stored["sizes"].tolist(),
                    stored["words"].tolist(),
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            files = []
        if files != names:
            with dataset.files() as opened:
                kinds = [_kind(opened.read(name)) for name in names]
            sizes, words = (
                [[w, h] for w, h, _, _ in kinds],
                [[kind, mode] for _, _, kind, mode in kinds],
            )
            content = io.BytesIO()
            np.savez(content, files=np.array(names), sizes=np.array(sizes), words=np.array(words))
            write_bytes(place, content.getvalue())
    counted = Counter((w, h, kind, mode) for (w, h), (kind, mode) in zip(sizes, words, strict=True))
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
