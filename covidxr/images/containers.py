"""Folders and zips of files, listed and read through one interface; nothing is extracted."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from covidxr.errors import DatasetError
from covidxr.images.limits import (
    MAX_FILE_BYTES,
    MAX_ZIP_DIRECTORY_BYTES,
    MAX_ZIP_EXPANSION,
    MAX_ZIP_FILES,
    MIN_ZIP_BOMB_BYTES,
)

MAX_DEPTH = 5
"""Folder levels listed: the three of a dataset, below up to two that wrap it."""

# zipfile has no common error for damaged zips: a missing member is a KeyError, a damaged stream
# zlib.error or BadZipFile, an encrypted member RuntimeError, an unknown method NotImplementedError,
# a truncated member EOFError without a message.
_ZIP_ERRORS = (
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those of zipfile that inflate in bounded steps."""


class FolderFiles:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> FolderFiles:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def list(self) -> dict[str, tuple[int, int]]:
        """Return {file: (bytes, modification time)}, without hidden files."""
        stamps = {}
        for depth in range(MAX_DEPTH):
            for path in self._root.glob("/".join("*" * (depth + 1))):
                if not path.name.startswith(".") and path.is_file():
                    status = path.stat()
                    stamps[path.relative_to(self._root).as_posix()] = (
                        status.st_size,
                        status.st_mtime_ns,
                    )
        return stamps

    def read(self, file: str) -> bytes:
        """Return the content of a file.

        Raises:
            DatasetError: For one that is missing, too large or outside the folder.
        """
        # Names may come from a model's predictions.
        name = PurePosixPath(file)
        if name.is_absolute() or ".." in name.parts:
            raise DatasetError(f"{file!r} is not inside {self._root}")
        try:
            length = (self._root / file).stat().st_size
            if length > MAX_FILE_BYTES:
                raise DatasetError(
                    f"{self._root / file} has {length:,} bytes, more than the limit of "
                    f"{MAX_FILE_BYTES:,}; reduce the image first"
                )
            return (self._root / file).read_bytes()
        except OSError as error:
            raise DatasetError(f"cannot read {self._root / file}: {error.strerror}") from error

    def head(self, file: str, length: int) -> bytes:
        """Return the first bytes of a file; none if it cannot be read."""
        try:
            with (self._root / file).open("rb") as opened:
                return opened.read(length)
        except OSError:
            return b""


class ZipFiles:
    """The members of a zip file."""

    def __init__(self, source: Path | BinaryIO, prefix: str = "", name: str = "") -> None:
        """Open and check a zip.

        Args:
            source: The zip.
            prefix: Folder in the zip to which the names in `read` and `head` are relative.
            name: What errors call the zip; otherwise its path.

        Raises:
            DatasetError: For a zip that is damaged, a zip bomb, or has members outside of it.
        """
        name = name or str(source)
        try:
            _check_directory(source, name)
            self._zip = zipfile.ZipFile(source)
        except _ZIP_ERRORS as error:
            raise DatasetError(f"cannot open {name}: {error}; download the zip again") from error
        try:
            _check_members(self._zip.infolist(), name)
        except DatasetError:
            self._zip.close()
            raise
        self._prefix = prefix

    def __enter__(self) -> ZipFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def list(self) -> dict[str, tuple[int, int]]:
        """Return {member: (bytes, CRC)}, without hidden files and the resource forks of macOS."""
        return {
            info.filename: (info.file_size, info.CRC)
            for info in self._zip.infolist()
            if not info.is_dir()
            and not PurePosixPath(info.filename).name.startswith(".")
            and not info.filename.startswith("__MACOSX/")
        }

    def read(self, file: str) -> bytes:
        """Return the content of a member.

        Raises:
            DatasetError: For one that is missing, damaged, too large or packed unusually.
        """
        try:
            info = self._zip.getinfo(self._prefix + file)
            if info.file_size > MAX_FILE_BYTES:
                raise DatasetError(
                    f"{file} in the zip has {info.file_size:,} bytes, more than the limit of "
                    f"{MAX_FILE_BYTES:,}; reduce the image first"
                )
            if info.compress_type not in _METHODS:
                raise DatasetError(
                    f"{file} in the zip uses an unsupported compression method; "
                    "create the zip again with deflate"
                )
            return self._zip.read(info)
        except _ZIP_ERRORS as error:
            raise DatasetError(
                f"cannot read {file} from the zip: {str(error) or 'it is truncated'}"
            ) from error

    def head(self, file: str, length: int) -> bytes:
        """Return the first bytes of a member; none if it cannot be read."""
        try:
            info = self._zip.getinfo(self._prefix + file)
            if info.compress_type not in _METHODS:
                return b""
            with self._zip.open(info) as opened:
                return opened.read(length)
        except _ZIP_ERRORS:
            return b""


def _check_directory(source: Path | BinaryIO, name: str) -> None:
    """Reject a huge central directory before zipfile reads it. APPNOTE.TXT 4.3.14 and 4.3.16."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            tail = _tail(file)
    else:
        tail = _tail(source)
    length = 0
    for signature, offset, form in ((b"PK\5\6", 12, "<I"), (b"PK\6\6", 40, "<Q")):
        start = tail.rfind(signature)
        if start >= 0 and len(tail) >= start + offset + struct.calcsize(form):
            (stated,) = struct.unpack_from(form, tail, start + offset)
            # This value refers to the other, 64-bit record.
            length = max(length, stated if stated != 2**32 - 1 else 0)
    if length > MAX_ZIP_DIRECTORY_BYTES:
        raise DatasetError(
            f"the directory of {name} has {length:,} bytes, more than the limit of "
            f"{MAX_ZIP_DIRECTORY_BYTES:,}; split it into several zips"
        )


def _tail(file: BinaryIO) -> bytes:
    """The last bytes, which contain the end records of a zip and its longest comment."""
    length = file.seek(0, io.SEEK_END)
    file.seek(max(0, length - 2**16 - 100))
    return file.read()


def _check_members(members: list[zipfile.ZipInfo], name: str) -> None:
    """Reject paths outside the zip, links, too many members, and zip bombs."""
    if len(members) > MAX_ZIP_FILES:
        raise DatasetError(
            f"{name} contains {len(members):,} files, more than the limit of {MAX_ZIP_FILES:,}; "
            "split it into several zips"
        )
    for info in members:
        if not info.filename:
            raise DatasetError(
                f"{name} is damaged: one of its members has no name; create the zip again"
            )
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise DatasetError(
                f"{name} is rejected: the path of its member {info.filename!r} is outside the zip; "
                "create the zip again from a folder"
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DatasetError(
                f"{name} is rejected: its member {info.filename!r} is a link; "
                "create the zip again with the files themselves"
            )
    packed = sum(info.compress_size for info in members)
    whole = sum(info.file_size for info in members)
    if whole > MIN_ZIP_BOMB_BYTES and whole > MAX_ZIP_EXPANSION * packed:
        raise DatasetError(
            f"{name} is rejected: {packed:,} bytes unpack to {whole:,}, more than "
            f"{MAX_ZIP_EXPANSION} times as many, which radiographs never do"
        )


def open_files(path: Path, prefix: str = "") -> FolderFiles | ZipFiles:
    """Open a folder or a zip.

    Args:
        path: Of the folder or the zip.
        prefix: Folder in it to which names are relative.

    Raises:
        DatasetError: If there is no folder or valid zip.
    """
    if path.is_dir():
        return FolderFiles(path / prefix)
    if path.is_file():
        return ZipFiles(path, prefix)
    raise DatasetError(f"there is no folder or zip {path}; check the path")
