"""The listing of an archive on any filesystem of fsspec: sorted, cut into shards, stored."""

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
"""Readers of a folder of Parquet files skip names that begin with an underscore."""
_PACKED = {"zip", "tar", "libarchive"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What all rows of a folder share."""

    covidxr_version: str
    model_id: str
    weights_sha256: str
    card_sha256: str
    source: str
    shard: int
    """Files per shard."""
    files: int
    listing_sha256: str
    """Hash of names, sizes and, where available, modification times."""


def open_archive(source: str) -> tuple[AbstractFileSystem, str]:
    """Return the filesystem of an address, and the folder in it.

    Raises:
        ConfigError: For an address with a secret, or without its package.
        ImageError: For a folder that cannot be opened or listed.
    """
    from fsspec.core import url_to_fs

    parts = urlsplit(source)
    if parts.password or (parts.scheme in ("http", "https") and (parts.username or parts.query)):
        raise ConfigError(
            "the address contains a password or token, which every row would contain too; move it "
            "to the configuration of fsspec"
        )
    no_folder = f"{source} is not a folder that can be listed; predict a file without --engine ray"
    # fsspec does not check zips for bombs and links.
    if _PACKED & {part.partition("://")[0] for part in source.split("::")}:
        raise ImageError(no_folder)
    try:
        files, root = url_to_fs(source, use_listings_cache=False)
        is_folder = files.isdir(root)
    # Their messages name the package to install, or the known protocols.
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cannot open {source}: {error}") from error
    # Each filesystem has its own errors.
    except Exception as error:
        raise ImageError(f"cannot open {source}: {str(error) or type(error).__name__}") from error
    if not is_folder:
        raise ImageError(no_folder)
    return files, root.rstrip("/")


def list_archive(
    files: AbstractFileSystem, root: str, source: str, card: ModelCard, out: Path, shard: int
) -> Manifest:
    """Write the listing of all files of an archive, one row group per shard, and its manifest.

    Args:
        files: Filesystem of the archive.
        root: Folder in it.
        source: Address as typed by the user.
        card: Of the model.
        out: Folder for the listing and the rows.
        shard: Files per shard.

    Raises:
        ConfigError: For a folder with rows of another listing or model, or with other files, which
            are left unchanged.
        ImageError: For an archive that cannot be listed or has no files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if "file" in files.protocol and out.is_relative_to(Path(root).resolve()):
        raise ConfigError(
            f"{out} is inside the archive and would become part of it; choose another folder"
        )
    old = read_manifest(out)
    # Binary, since a file name need not be UTF-8.
    schema = pa.schema([("file", pa.binary()), ("bytes", pa.int64())])
    digest, count, entries = hashlib.sha256(), 0, _walk(files, root)
    new = out / f".{LISTING}.{os.getpid()}.tmp"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            pq.ParquetWriter(new, schema) as writer,
            tqdm(desc="listing", unit=" files", disable=None) as bar,
        ):
            while batch := list(islice(entries, shard)):
                names = [name.encode("utf-8", "surrogateescape") for name, _, _ in batch]
                for name, (_, size, stamp) in zip(names, batch, strict=True):
                    digest.update(b"%s\0%s\n" % (name, f"{size}\0{stamp}".encode()))
                writer.write_table(pa.table([names, [size for _, size, _ in batch]], schema))
                bar.update(len(batch))
                count += len(batch)
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
                f"{out} holds rows of another archive or model (different: {', '.join(other)}); "
                "choose a new folder, or delete this one"
            )
        os.replace(new, out / LISTING)
        write_text(out / MANIFEST, to_json(manifest))
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error}") from error
    finally:
        new.unlink(missing_ok=True)
    return manifest


def read_manifest(out: Path) -> Manifest | None:
    """Return the manifest of a folder; None for a new or empty folder.

    Raises:
        ConfigError: For a folder with other files, or an unreadable manifest.
    """
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
    """Return the hash of a card: besides the weights, predictions depend on the temperature."""
    return hashlib.sha256(to_json(replace(card, external="")).encode()).hexdigest()


def _walk(files: AbstractFileSystem, root: str) -> Iterator[tuple[str, int | None, str]]:
    """Yield the relative name, size (None if unknown) and version of each file, sorted.

    Memory holds one folder, and the names of pending ones. Linked folders are not followed, since
    they may form a cycle.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        inner = []
        for entry in _entries(files, f"{root}/{folder}"):
            name = str(entry["name"]).removeprefix(f"{root}/{folder}").rstrip("/")
            # The folder itself, or a link of a web page to elsewhere.
            if name in ("", ".", "..") or "/" in name:
                continue
            if entry["type"] == "directory":
                inner.append(f"{folder}{name}/")
            elif entry["type"] == "file" and not name.startswith("."):
                yield folder + name, entry["size"], str(entry.get("ETag", entry.get("mtime", "")))
        folders += reversed(inner)


def _entries(files: AbstractFileSystem, folder: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a folder, sorted; links are resolved, and links to folders skipped."""
    try:
        found = files.ls(folder, detail=True)
    # Each filesystem has its own errors.
    except Exception as error:
        raise ImageError(f"cannot list {folder}: {str(error) or type(error).__name__}") from error
    for entry in sorted(found, key=lambda entry: str(entry["name"])):
        try:
            own = files.info(entry["name"]) if entry.get("islink") else entry
        # A broken link.
        except FileNotFoundError:
            continue
        if not (entry.get("islink") and own["type"] == "directory"):
            yield own
