"""The files of a folder or of a zip, listed and read alike; nothing is ever extracted."""

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
"""Folders are listed this deep: a dataset's own three levels, under two that may wrap it."""


# zipfile has no error of its own for damaged zips: it raises all of these.
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
                    stamps[path.relative_to(self._root).as_posix()] = (
                        status.st_size,
                        status.st_mtime_ns,
                    )
        return stamps

    def read(self, file: str) -> bytes:
        """Return a file's bytes. Raises DatasetError for one that is gone or lies outside the folder."""
        name = PurePosixPath(file)
        if name.is_absolute() or ".." in name.parts:  # names may come from a model's predictions
            raise DatasetError(f"{file!r} does not lie in {self._root}")
        try:
            length = (self._root / file).stat().st_size
            if length > MAX_FILE_BYTES:
                raise DatasetError(
                    f"{self._root / file} has {length:,} bytes, more than the limit of {MAX_FILE_BYTES:,}"
                )
            return (self._root / file).read_bytes()
        except OSError as error:
            raise DatasetError(f"cannot read {self._root / file}: {error.strerror}") from error

    def head(self, file: str, length: int) -> bytes:
        """Return a file's first bytes; none where they cannot be read."""
        try:
            with (self._root / file).open("rb") as opened:
                return opened.read(length)
        except OSError:
            return b""


class ZipFiles:
    """The members of a zip, read without extracting anything."""

    def __init__(self, source: Path | BinaryIO, prefix: str = "", name: str = "") -> None:
        """Open a zip and check it. Raises DatasetError, by `name` or path, for one that is damaged, a bomb, or leads elsewhere."""
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
                raise DatasetError(
                    f"{file} in the zip has {info.file_size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}"
                )
            if info.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):  # the others inflate without an end
                raise DatasetError(
                    f"{file} is packed in a way that is not opened; make the zip again with the usual deflate"
                )
            return self._zip.read(info)
        # zipfile has no error of its own for all of these: no such member is a KeyError, a damaged stream zlib.error or BadZipFile,
        # an encrypted member RuntimeError, an unknown method NotImplementedError, one that ends early EOFError without a word.
        except _ZIP_ERRORS as error:
            raise DatasetError(
                f"cannot read {file} from the zip: {str(error) or 'it ends early'}"
            ) from error

    def head(self, file: str, length: int) -> bytes:
        """Return a member's first bytes; none where they cannot be read."""
        try:
            info = self._zip.getinfo(self._prefix + file)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return b""
            with self._zip.open(info) as opened:
                return opened.read(length)
        except _ZIP_ERRORS:
            return b""


def _check_directory(source: Path | BinaryIO, name: str) -> None:
    """Refuse a zip whose list of members is huge, before zipfile reads it whole. APPNOTE.TXT 4.3.14 and 4.3.16."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            tail = _tail(file)
    else:
        tail = _tail(source)
    length = 0
    for mark, place, form in ((b"PK\5\6", 12, "<I"), (b"PK\6\6", 40, "<Q")):
        found = tail.rfind(mark)
        if found >= 0 and len(tail) >= found + place + struct.calcsize(form):
            (own,) = struct.unpack_from(form, tail, found + place)
            length = max(length, own if own != 2**32 - 1 else 0)  # which says: see the other
    if length > MAX_ZIP_DIRECTORY_BYTES:
        raise DatasetError(
            f"{name} lists its files in {length:,} bytes, over the limit of {MAX_ZIP_DIRECTORY_BYTES:,}; make several zips of it"
        )


def _tail(file: BinaryIO) -> bytes:
    """The last bytes, among which the records stand that end a zip and its longest comment."""
    length = file.seek(0, io.SEEK_END)
    file.seek(max(0, length - 2**16 - 100))
    return file.read()


def _check_members(members: list[zipfile.ZipInfo], name: str) -> None:
    """Refuse names that lead out of the zip, links, too many members, and bombs."""
    if len(members) > MAX_ZIP_FILES:
        raise DatasetError(
            f"{name} holds {len(members):,} files, more than the limit of {MAX_ZIP_FILES:,}; make several zips of it"
        )
    for info in members:
        if not info.filename:
            raise DatasetError(
                f"{name} is damaged: one of its members has no name; make the zip again"
            )
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise DatasetError(
                f"{name} is refused: its member {info.filename!r} leads out of it; make the zip again from a folder"
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DatasetError(
                f"{name} is refused: its member {info.filename!r} is a link; make the zip again with the files themselves"
            )
    packed, whole = (
        sum(info.compress_size for info in members),
        sum(info.file_size for info in members),
    )
    if whole > MIN_ZIP_BOMB_BYTES and whole > MAX_ZIP_EXPANSION * packed:
        raise DatasetError(
            f"{name} is refused: {packed:,} bytes unpack to {whole:,}, more than {MAX_ZIP_EXPANSION} times as many; "
            "no radiographs pack so well"
        )


def open_files(path: Path, prefix: str = "") -> FolderFiles | ZipFiles:
    """Open a folder or a zip; names are relative to `prefix` in it. Raises DatasetError when there is neither."""
    if path.is_dir():
        return FolderFiles(path / prefix)
    if path.is_file():
        return ZipFiles(path, prefix)
    raise DatasetError(f"there is no folder or zip {path}; check the path")
