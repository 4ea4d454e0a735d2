"""The COVID-19 Radiography Database as downloaded: a folder or a zip of `<Class>/images/*`."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from covidxr.data.files import MAX_DEPTH, FolderFiles, ZipFiles, open_files
from covidxr.data.images import SUFFIXES
from covidxr.data.phantom import MARKER
from covidxr.errors import DatasetError
from covidxr.records import CLASS_NAMES


@dataclass(frozen=True, slots=True)
class Sample:
    """One radiograph: its file relative to the dataset, the index of its class, and where it came from, if known."""

    file: str
    label: int
    source: str | None = None
    patient_id: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """An opened dataset; `samples` are in class order, then by number."""

    path: Path
    prefix: str
    samples: tuple[Sample, ...]
    fingerprint: str
    """Changes when a file is added, removed, renamed or changes its length; the same on every machine."""
    state: str
    """Changes also when a file is written again; decides whether decoded pixels are still true."""
    synthetic: bool
    class_names: tuple[str, ...] = CLASS_NAMES
    skipped: tuple[tuple[str, str], ...] = ()
    """Files left out, each with the reason."""

    @property
    def name(self) -> str:
        """What to call the dataset on screen."""
        return PurePosixPath(self.prefix).name or (self.path.name if self.path.is_dir() else self.path.stem)

    def files(self) -> FolderFiles | ZipFiles:
        """Return access to the bytes of the dataset's files; close it, or use it in a `with`."""
        return open_files(self.path, self.prefix)

    def read(self, file: str) -> bytes:
        """Return one file's bytes. Raises DatasetError, naming it, when it is gone."""
        with self.files() as files:
            return files.read(file)

    def without(self, skipped: Iterable[tuple[str, str]]) -> Dataset:
        """Return the dataset without some files; each comes with the reason."""
        skipped = tuple(skipped)
        gone = {file for file, _ in skipped}
        samples = tuple(s for s in self.samples if s.file not in gone)
        return replace(self, samples=samples, skipped=self.skipped + skipped)

    def class_counts(self) -> dict[str, int]:
        """Return the number of samples of each class."""
        counts = Counter(s.label for s in self.samples)
        return {name: counts[i] for i, name in enumerate(self.class_names)}

    def sources(self) -> dict[str, dict[str, int]]:
        """Return the number of samples by class, then by source."""
        tallies = {name: Counter[str]() for name in self.class_names}
        for sample in self.samples:
            tallies[self.class_names[sample.label]][sample.source or "unknown"] += 1
        return {name: dict(sorted(tally.items())) for name, tally in tallies.items()}


def open_dataset(path: Path | str) -> Dataset:
    """Find the class folders below `path` (a folder or a zip) and list their images; nothing is decoded yet.

    `sources.csv` (`file,source,patient_id`), `<Class>.metadata.xlsx` and `<Class>/masks/` are used when present.
    Raises DatasetError when the path is wrong or a class is missing.
    """
    path = Path(path).expanduser()
    with open_files(path) as everything:
        stamps = everything.list()
    prefix = _find_prefix(stamps, path)
    listing = {file.removeprefix(prefix): stamp for file, stamp in stamps.items() if file.startswith(prefix)}
    images = _list_images(listing, path)
    with open_files(path, prefix) as files:
        origins = _read_origins(files, listing)
    samples = tuple(
        Sample(file, label, *origins.get(_stem(file), (None, None)), mask=_mask_of(file, listing)) for file, label in images
    )
    return Dataset(
        path=path.resolve(),
        prefix=prefix,
        samples=samples,
        fingerprint=_digest(f"{file}\t{listing[file][0]}" for file, _ in images),
        state=_digest(f"{file}\t{listing[file]}" for file, _ in images),
        synthetic=MARKER in listing,
    )


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _stem(file: str) -> str:
    """Key under which metadata and images meet; the original's metadata differs from the files in case (NORMAL-1)."""
    return PurePosixPath(file).stem.lower()


def _mask_of(file: str, listing: dict[str, tuple[int, int]]) -> str | None:
    class_name, _, name = file.split("/")
    mask = f"{class_name}/masks/{PurePosixPath(name).stem}.png"
    return mask if mask in listing else None


def _find_prefix(files: Iterable[str], path: Path) -> str:
    """Return the folder above `<Class>/images`, with a slash at its end, or an empty string."""
    found = Counter[str]()
    seen: set[tuple[str, str]] = set()
    for file in files:
        parts = file.split("/")
        for depth in range(min(MAX_DEPTH, len(parts)) - 2):
            if parts[depth] in CLASS_NAMES and parts[depth + 1] == "images":
                seen.add(("".join(f"{p}/" for p in parts[:depth]), parts[depth]))
    for prefix, _ in seen:
        found[prefix] += 1
    if not found:
        raise DatasetError(
            f"{path} is not a COVID-19 Radiography Database: expected folders {', '.join(f'{c}/images' for c in CLASS_NAMES)}, "
            "found none of them; choose the folder (or the zip) that holds them"
        )
    return max(sorted(found), key=lambda prefix: found[prefix])


def _list_images(listing: Iterable[str], path: Path) -> list[tuple[str, int]]:
    images: list[tuple[str, int]] = []
    for file in listing:
        parts = file.split("/")
        if len(parts) == 3 and parts[0] in CLASS_NAMES and parts[1] == "images" and parts[2].lower().endswith(SUFFIXES):
            images.append((file, CLASS_NAMES.index(parts[0])))
    present = {label for _, label in images}
    missing = [name for i, name in enumerate(CLASS_NAMES) if i not in present]
    if missing:
        raise DatasetError(f"{path} has no images of {', '.join(missing)}: expected PNG or JPEG files in {missing[0]}/images")
    return sorted(images, key=lambda image: (image[1], _natural(image[0])))


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _read_origins(files: FolderFiles | ZipFiles, listing: Iterable[str]) -> dict[str, tuple[str | None, str | None]]:
    """Return {image stem: (source, patient_id)} from sources.csv, else from the original's metadata sheets."""
    listing = set(listing)
    if "sources.csv" in listing:
        reader = csv.DictReader(io.StringIO(files.read("sources.csv").decode("utf-8-sig")))
        if not {"file", "source", "patient_id"} <= set(reader.fieldnames or ()):
            raise DatasetError(f"sources.csv must have the columns file, source, patient_id, got {reader.fieldnames}")
        return {_stem(row["file"]): (row["source"] or None, row["patient_id"] or None) for row in reader}
    origins: dict[str, tuple[str | None, str | None]] = {}
    for class_name in CLASS_NAMES:
        sheet = f"{class_name}.metadata.xlsx"
        if sheet in listing:
            origins.update(_read_sheet(files.read(sheet), sheet))
    return origins


def _read_sheet(content: bytes, name: str) -> dict[str, tuple[str | None, str | None]]:
    import pandas as pd  # imported late: it costs half a second and few datasets need it

    try:
        table = pd.read_excel(io.BytesIO(content), dtype=str)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"cannot read {name}: {error}; delete it or download the database again") from error
    table.columns = [str(c).strip().upper() for c in table.columns]
    if not {"FILE NAME", "URL"} <= set(table.columns):
        raise DatasetError(f"{name} must have the columns FILE NAME and URL, got {', '.join(table.columns)}")
    pairs = table[["FILE NAME", "URL"]].dropna(subset=["FILE NAME"]).fillna("").itertuples(index=False)
    return {str(file).strip().lower(): (_source_of(str(url)), None) for file, url in pairs}


def _source_of(url: str) -> str | None:
    """Name the collection behind an address of the metadata sheets, in the words of sources.csv."""
    if not url:
        return None
    if "rsna-pneumonia" in url:
        return "rsna"
    if "chest-xray-pneumonia" in url:
        return "kermany"
    return "covid-collections"
