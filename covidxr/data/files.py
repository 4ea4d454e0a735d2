"""The files of a folder or of a zip, listed and read alike; nothing is ever extracted."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from covidxr.errors import DatasetError

MAX_FILE_BYTES = 200_000_000
MAX_DEPTH = 5
"""Folders are listed this deep: a dataset's own three levels, under two that may wrap it."""


class FolderFiles:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> FolderFiles:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def list(self) -> dict[str, tuple[int, int]]:
        """Return {file: (bytes, time of change)}; hidden files are left out."""
        stamps = {}
        for depth in range(MAX_DEPTH):
            for path in self._root.glob("/".join("*" * (depth + 1))):
                if not path.name.startswith(".") and path.is_file():
                    status = path.stat()
                    stamps[path.relative_to(self._root).as_posix()] = (status.st_size, status.st_mtime_ns)
        return stamps

    def read(self, file: str) -> bytes:
        """Return a file's bytes. Raises DatasetError for one that is gone or lies outside the folder."""
        name = PurePosixPath(file)
        if name.is_absolute() or ".." in name.parts:  # names may come from a model's predictions
            raise DatasetError(f"{file!r} does not lie in {self._root}")
        try:
            return (self._root / file).read_bytes()
        except OSError as error:
            raise DatasetError(f"cannot read {self._root / file}: {error.strerror}") from error


class ZipFiles:
    """The members of a zip, read without extracting anything."""

    def __init__(self, path: Path, prefix: str) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DatasetError(f"cannot open {path}: {error}; download the zip again") from error
        self._prefix = prefix

    def __enter__(self) -> ZipFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def list(self) -> dict[str, tuple[int, int]]:
        """Return {member: (bytes, CRC)}; hidden files and the resource forks that macOS adds are left out."""
        return {
            info.filename: (info.file_size, info.CRC)
            for info in self._zip.infolist()
            if not info.is_dir()
            and not PurePosixPath(info.filename).name.startswith(".")
            and not info.filename.startswith("__MACOSX/")
        }

    def read(self, file: str) -> bytes:
        """Return a member's bytes."""
        try:
            info = self._zip.getinfo(self._prefix + file)
            if info.file_size > MAX_FILE_BYTES:
                raise DatasetError(f"{file} in the zip has {info.file_size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}")
            return self._zip.read(info)
        # zipfile has no error of its own for all of these: no such member is a KeyError, a damaged stream zlib.error or BadZipFile,
        # an encrypted member RuntimeError, an unknown method NotImplementedError.
        except (KeyError, zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError) as error:
            raise DatasetError(f"cannot read {file} from the zip: {error}") from error


def open_files(path: Path, prefix: str = "") -> FolderFiles | ZipFiles:
    """Open a folder or a zip; names are relative to `prefix` in it. Raises DatasetError when there is neither."""
    if path.is_dir():
        return FolderFiles(path / prefix)
    if path.is_file():
        return ZipFiles(path, prefix)
    raise DatasetError(f"there is no folder or zip {path}; check the path")
