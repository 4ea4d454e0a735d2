"""The one place where the content of a file decides which reader decodes it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from covidxr.errors import ImageError
from covidxr.images.dicom import read_dicom
from covidxr.images.limits import MAX_FILE_BYTES
from covidxr.images.radiograph import Radiograph
from covidxr.images.raster import read_raster
from covidxr.records import GrayImage

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")


def read_radiograph(file: Path | str | bytes, name: str = "") -> Radiograph:
    """Decode a PNG, JPEG, TIFF or DICOM file; its content decides which, not its suffix.

    Args:
        file: A path, or the content of a file.
        name: What errors call the file; for a path, its own name unless another is given.

    Returns:
        The radiograph: gray values (H, W) uint8, upright, 0 is black. See `read_raster` and
        `read_dicom` for how deeper images are reduced to 8 bits.

    Raises:
        ImageError: For anything that is not one image of a plausible size.
    """
    if not isinstance(file, bytes):
        name = name or Path(file).name
        file = read_file(Path(file))
    name = name or "the file"
    if not file:
        raise ImageError(f"cannot read {name}: the file is empty; export the image again")
    if len(file) > MAX_FILE_BYTES:
        raise ImageError(
            f"cannot read {name}: {len(file):,} bytes exceed the limit of {MAX_FILE_BYTES:,}; "
            "reduce the image first"
        )
    read = read_dicom if is_dicom(file) else read_raster
    return replace(read(file, name), sha256=hashlib.sha256(file).hexdigest())


def read_image(content: bytes, name: str) -> GrayImage:
    """Return the gray values alone of `read_radiograph`, (H, W) uint8."""
    return read_radiograph(content, name).image


def is_dicom(content: bytes) -> bool:
    """Whether a file, or its first 132 bytes, begins as DICOM files do."""
    return content[128:132] == b"DICM"


def read_file(path: Path) -> bytes:
    """Return the content of a file, up to the limit of bytes and one more.

    Raises:
        ImageError: When it does not exist or cannot be read.
    """
    if not path.is_file():
        raise ImageError(f"there is no file {path}")
    try:
        with path.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
