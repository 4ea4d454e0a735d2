"""Strict JSON for records, and atomic writing of files and folders."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import tempfile
import types
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from covidxr.errors import ConfigError

T = TypeVar("T")
Arrays = dict[str, npt.NDArray[Any]]
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")


def to_json(record: Any) -> str:
    """Return a dataclass, or a plain JSON value, as indented JSON.

    Raises:
        ValueError: For NaN or infinity.
    """
    plain = (
        dataclasses.asdict(record)
        if dataclasses.is_dataclass(record) and not isinstance(record, type)
        else record
    )
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(kind: type[T], text: str, name: str = "JSON") -> T:
    """Read a dataclass from JSON.

    Args:
        kind: The dataclass.
        text: JSON.
        name: What errors call the text.

    Raises:
        ConfigError: Naming the field, when one is missing, unknown or of another type.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{name} is not valid JSON: {error}") from error
    return _build(kind, value, name)  # type: ignore[no-any-return]


def _build(kind: Any, value: Any, where: str) -> Any:
    """Check a parsed JSON value against a type; lists become tuples, objects dataclasses."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_record(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [a for a in arguments if a is not type(None)]
        return _build(inner, value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{where} must be one of {', '.join(map(str, arguments))}, got {value!r}")
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) == len(value):
            return tuple(
                _build(a, v, f"{where}[{i}]")
                for i, (a, v) in enumerate(zip(arguments, value, strict=True))
            )
    if origin is dict and isinstance(value, dict):
        return {k: _build(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ConfigError(
        f"{where} must be {getattr(kind, '__name__', kind)}, "
        f"got {type(value).__name__} {str(value)[:60]!r}"
    )


def _build_record(kind: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be an object, got {type(value).__name__}")
    hints = get_type_hints(kind)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise ConfigError(f"{where} has an unknown field {', '.join(unknown)}")
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.name not in value
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where} lacks the field {', '.join(missing)}")
    return kind(**{k: _build(hints[k], v, f"{where}.{k}") for k, v in value.items()})


def csv_safe(text: str) -> str:
    """Return a text that is safe in a CSV cell.

    A spreadsheet would run a text that begins with = + - @ (also full-width), or with a control
    character before these, as a formula; such a text gets a leading apostrophe. File names may be
    anything. OWASP, "CSV injection".
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def printable(text: str) -> str:
    """Return a text, such as a file name, with what is not valid UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: readers get the old text or the new one, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically (temporary sibling, flush to disk, rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` if the block succeeds, else is deleted.

    An existing folder at `path` is moved aside for the swap, then removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
            os.replace(path, aside / "old")
            os.replace(temporary, path)
            shutil.rmtree(aside)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cached_arrays(
    path: Path, make: Callable[[], Arrays], is_current: Callable[[Arrays], bool]
) -> Arrays:
    """Return named arrays from a file, or compute them and write the file.

    Processes take turns: one computes, the others wait for its file.

    Args:
        path: The .npz file; its folder is created.
        make: Computes the arrays.
        is_current: Whether arrays that were read are whole and of the present data.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            if is_current(arrays):
                return arrays
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
            pass  # absent, damaged or of another version: computed again
        arrays = make()
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(path, content.getvalue())
        return arrays
