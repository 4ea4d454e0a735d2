"""The list of an archive, in any place that fsspec knows: made once, in order, cut into shards, and kept beside their rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tqdm import tqdm

import covidxr
from covidxr.cards import ModelCard
from covidxr.errors import ConfigError, ImageError
from covidxr.storage import from_json, to_json, write_text

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MANIFEST, LISTING = "_manifest.json", "_listing.parquet"
"""What begins with _ is skipped by those who read a folder of Parquet files."""
_PACKED = {"zip", "tar", "libarchive"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What all rows in a folder have in common."""

    covidxr_version: str
    model_id: str
    weights_sha256: str
    card_sha256: str
    source: str
    shard: int
    """Files of a shard."""
    files: int
    listing_sha256: str
    """Of names, sizes, and times of change where there are any."""


def open_archive(source: str) -> tuple[AbstractFileSystem, str]:
    """Return the filesystem of an address, and the folder in it. Raises ConfigError and ImageError as `score_archive`."""
    from fsspec.core import url_to_fs

    parts = urlsplit(source)
    if parts.password or (parts.scheme in ("http", "https") and (parts.username or parts.query)):
        raise ConfigError(
            "the address holds a password or a token, which every row would show: put it into fsspec's configuration instead"
        )
    # A zip is checked for bombs and links before it is read, which fsspec does not.
    refused = f"{source} is no folder that can be listed; a zip or a single picture is read without --engine ray"
    if _PACKED & {part.partition("://")[0] for part in source.split("::")}:
        raise ImageError(refused)
    try:
        files, root = url_to_fs(source, use_listings_cache=False)
        is_folder = files.isdir(root)
    except (
        ImportError,
        ValueError,
    ) as error:  # whose sentences say what to install, and which protocols there are
        raise ConfigError(f"cannot open {source}: {error}") from error
    except Exception as error:  # each filesystem has errors of its own
        raise ImageError(f"cannot open {source}: {str(error) or type(error).__name__}") from error
    if not is_folder:
        raise ImageError(refused)
    return files, root.rstrip("/")


def list_archive(
    files: AbstractFileSystem, root: str, source: str, card: ModelCard, out: Path, shard: int
) -> Manifest:
    """Write the list of all files below `root`, of which a row group is a shard, and its manifest into `out`.

    Raises ConfigError, and leaves everything as it was, where `out` holds the rows of another list or model, or something else;
    ImageError where the archive cannot be listed or has no files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if "file" in files.protocol and out.is_relative_to(Path(root).resolve()):
        raise ConfigError(
            f"{out} lies in the archive, and would become a part of it; choose a folder elsewhere"
        )
    old = read_manifest(out)
    schema = pa.schema([("file", pa.binary()), ("bytes", pa.int64())])  # a name need not be UTF-8
    digest, count, entries = hashlib.sha256(), 0, _walk(files, root)
    new = out / f".{LISTING}.{os.getpid()}.tmp"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            pq.ParquetWriter(new, schema) as writer,
            tqdm(desc="listing", unit=" files", disable=None) as bar,
        ):
            while some := list(islice(entries, shard)):
                names = [name.encode("utf-8", "surrogateescape") for name, _, _ in some]
                for name, (_, size, stamp) in zip(names, some, strict=True):
                    digest.update(b"%s\0%s\n" % (name, f"{size}\0{stamp}".encode()))
                writer.write_table(pa.table([names, [size for _, size, _ in some]], schema))
                bar.update(len(some))
                count += len(some)
        if not count:
            raise ImageError(f"{source} holds no files")
        manifest = Manifest(
            covidxr.__version__,
            card.model_id,
            card.weights_sha256,
            card_sha256(card),
            source,
            shard,
            count,
            digest.hexdigest(),
        )
        if old is not None and old != manifest:
            other = [
                name for name, value in asdict(manifest).items() if value != getattr(old, name)
            ]
            raise ConfigError(
                f"{out} holds the rows of another archive, or of another model (not the same: {', '.join(other)}); choose a new "
                "folder, or delete this one"
            )
        os.replace(new, out / LISTING)
        write_text(out / MANIFEST, to_json(manifest))
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error}") from error
    finally:
        new.unlink(missing_ok=True)
    return manifest


def read_manifest(out: Path) -> Manifest | None:
    """Return a folder's manifest; None for a folder that is new or empty. Raises ConfigError where it holds something else."""
    try:
        return from_json(Manifest, (out / MANIFEST).read_text("utf-8"), str(out / MANIFEST))
    except FileNotFoundError:
        if out.is_dir() and any(
            file.name != LISTING and not file.name.endswith(".tmp") for file in out.iterdir()
        ):
            raise ConfigError(f"{out} holds other files; choose a new folder") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {out / MANIFEST}: {error}; choose a new folder") from error


def card_sha256(card: ModelCard) -> str:
    """Return the hash of a card, wherever it was read: what the same weights answer depends on their temperature, too."""
    return hashlib.sha256(to_json(replace(card, external="")).encode()).hexdigest()


def _walk(files: AbstractFileSystem, root: str) -> Iterator[tuple[str, int | None, str]]:
    """Yield (name below the root, bytes where known, what changes with the file), folder by folder, each in order.

    Memory holds one folder, and the names of the folders to come. Linked folders are not followed: they may lead in circles.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        inner = []
        for entry in _entries(files, f"{root}/{folder}"):
            name = str(entry["name"]).removeprefix(f"{root}/{folder}").rstrip("/")
            if (
                name in ("", ".", "..") or "/" in name
            ):  # the folder itself, or a link of a web page that leads elsewhere
                continue
            if entry["type"] == "directory":
                inner.append(f"{folder}{name}/")
            elif entry["type"] == "file" and not name.startswith("."):
                yield folder + name, entry["size"], str(entry.get("ETag", entry.get("mtime", "")))
        folders += reversed(inner)


def _entries(files: AbstractFileSystem, folder: str) -> Iterator[dict[str, Any]]:
    """Yield what fsspec says of what a folder holds, by name; of links, what they lead to, unless that is a folder."""
    try:
        found = files.ls(folder, detail=True)
    except Exception as error:  # each filesystem has errors of its own
        raise ImageError(f"cannot list {folder}: {str(error) or type(error).__name__}") from error
    for entry in sorted(found, key=lambda entry: str(entry["name"])):
        try:
            own = files.info(entry["name"]) if entry.get("islink") else entry
        except FileNotFoundError:  # it leads nowhere
            continue
        if not (entry.get("islink") and own["type"] == "directory"):
            yield own
