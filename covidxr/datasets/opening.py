"""The opening of a dataset: the COVID-19 Radiography Database as downloaded, or an import."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from covidxr.datasets.custom import import_file, open_import, read_import
from covidxr.datasets.dataset import Dataset, Sample, digests, natural
from covidxr.datasets.phantoms import MARKER
from covidxr.errors import DatasetError
from covidxr.images.containers import MAX_DEPTH, FolderFiles, ZipFiles, open_files
from covidxr.images.reading import SUFFIXES
from covidxr.records import CLASS_NAMES

Origin = tuple[str | None, str | None, str | None]
"""Source, patient and split of an image."""


def open_dataset(path: Path | str) -> Dataset:
    """Open a dataset and list its images, without decoding them.

    `sources.csv` (`file,source,patient_id[,split]`), `<Class>.metadata.xlsx` and `<Class>/masks/`
    are used when present.

    Args:
        path: Folder or zip that holds `<Class>/images/`, at any depth; or the file or the name of
            an import (`covidxr.datasets.custom`).

    Returns:
        The dataset, its samples in class order, then by number.

    Raises:
        DatasetError: When the path does not exist or a class is missing.
    """
    path = find_dataset(path)
    if path.suffix.lower() == ".json" and path.is_file():
        return open_import(read_import(path))
    with open_files(path) as everything:
        stamps = everything.list()
    prefix = _find_prefix(stamps, path)
    listing = {
        file.removeprefix(prefix): stamp
        for file, stamp in stamps.items()
        if file.startswith(prefix)
    }
    images = _list_images(listing, path)
    with open_files(path, prefix) as files:
        origins = _read_origins(files, listing)
    fingerprint, state = digests({file: listing[file] for file, _ in images})
    samples = []
    for file, label in images:
        source, patient_id, split = origins.get(_stem(file), (None, None, None))
        samples.append(Sample(file, label, source, patient_id, _mask_of(file, listing), split))
    return Dataset(
        path=path.resolve(),
        prefix=prefix,
        samples=tuple(samples),
        fingerprint=fingerprint,
        state=state,
        synthetic=MARKER in listing,
    )


def find_dataset(path: Path | str) -> Path:
    """Return a path as it is, or the file of an import where no file has that bare name."""
    path = Path(path).expanduser()
    if len(path.parts) != 1 or path.exists():
        return path
    imported = import_file(path.name)
    return imported if imported.is_file() else path


def _stem(file: str) -> str:
    """Key that joins metadata and images; the published metadata differs in case (NORMAL-1)."""
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
            f"{path} is not a COVID-19 Radiography Database: found none of the folders "
            f"{', '.join(f'{c}/images' for c in CLASS_NAMES)}; choose the folder or the zip that "
            "contains them"
        )
    return max(sorted(found), key=lambda prefix: found[prefix])


def _list_images(listing: Iterable[str], path: Path) -> list[tuple[str, int]]:
    images: list[tuple[str, int]] = []
    for file in listing:
        parts = file.split("/")
        if (
            len(parts) == 3
            and parts[0] in CLASS_NAMES
            and parts[1] == "images"
            and parts[2].lower().endswith(SUFFIXES)
        ):
            images.append((file, CLASS_NAMES.index(parts[0])))
    present = {label for _, label in images}
    missing = [name for i, name in enumerate(CLASS_NAMES) if i not in present]
    if missing:
        raise DatasetError(
            f"{path} has no images of {', '.join(missing)}: expected PNG or JPEG files in "
            f"{missing[0]}/images"
        )
    return sorted(images, key=lambda image: (image[1], natural(image[0])))


def _read_origins(files: FolderFiles | ZipFiles, listing: Iterable[str]) -> dict[str, Origin]:
    """Return {image stem: origin} from sources.csv, else from the published metadata sheets."""
    listing = set(listing)
    if "sources.csv" in listing:
        reader = csv.DictReader(io.StringIO(files.read("sources.csv").decode("utf-8-sig")))
        if not {"file", "source", "patient_id"} <= set(reader.fieldnames or ()):
            raise DatasetError(
                "sources.csv must have the columns file, source, patient_id, got "
                f"{', '.join(reader.fieldnames or ()) or 'none'}"
            )
        return {
            _stem(row["file"]): (
                row["source"] or None,
                row["patient_id"] or None,
                row.get("split") or None,
            )
            for row in reader
        }
    origins: dict[str, Origin] = {}
    for class_name in CLASS_NAMES:
        sheet = f"{class_name}.metadata.xlsx"
        if sheet in listing:
            origins.update(_read_sheet(files.read(sheet), sheet))
    return origins


def _read_sheet(content: bytes, name: str) -> dict[str, Origin]:
    # Takes half a second to import, and few datasets need it.
    import pandas as pd

    try:
        table = pd.read_excel(io.BytesIO(content), dtype=str)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"cannot read {name}: {error}; delete it or download the database again"
        ) from error
    table.columns = [str(c).strip().upper() for c in table.columns]
    if not {"FILE NAME", "URL"} <= set(table.columns):
        raise DatasetError(
            f"{name} must have the columns FILE NAME and URL, got {', '.join(table.columns)}"
        )
    pairs = (
        table[["FILE NAME", "URL"]].dropna(subset=["FILE NAME"]).fillna("").itertuples(index=False)
    )
    return {str(file).strip().lower(): (_source_of(str(url)), None, None) for file, url in pairs}


def _source_of(url: str) -> str | None:
    """Return the collection behind a URL of the metadata sheets, as named in sources.csv."""
    if not url:
        return None
    if "rsna-pneumonia" in url:
        return "rsna"
    if "chest-xray-pneumonia" in url:
        return "kermany"
    return "covid-collections"
