"""Imported datasets: a folder, a zip or a table of images whose labels are mapped to classes."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from covidxr.config import cache_folder
from covidxr.datasets.dataset import Dataset, Sample, digests, natural
from covidxr.datasets.phantoms import MARKER
from covidxr.errors import ConfigError, DatasetError
from covidxr.images.containers import open_files
from covidxr.images.reading import SUFFIXES, is_dicom
from covidxr.records import CLASS_NAMES
from covidxr.storage import from_json, new_folder, to_json, write_text

_OBVIOUS = {
    "Normal": ("normal", "healthy", "nofinding", "nofindings"),
    "COVID": ("covid", "covid19"),
    "Viral Pneumonia": ("viralpneumonia",),
    "Lung_Opacity": ("lungopacity", "opacity"),
}
"""Unambiguous spellings. A plain "pneumonia" may be bacterial, viral or COVID-19."""
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """An import: where the images are, and the class that each source label is mapped to."""

    name: str
    root: str
    """Absolute path of a folder, a zip or a CSV table."""
    labels: dict[str, str]
    """{source label: class}. Images with any other label are excluded."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DatasetError(
                f"{self.name!r} is not a valid name of an import: use letters, digits, ., - and _, "
                "and begin with a letter or a digit"
            )
        if not Path(self.root).is_absolute():
            raise DatasetError(
                "an import needs the absolute path of a folder, a zip or a CSV file, got "
                f"{self.root!r}"
            )
        if not self.labels:
            raise DatasetError(
                f"no label is mapped: map at least one to one of {', '.join(CLASS_NAMES)}"
            )
        for label, class_name in self.labels.items():
            if class_name not in CLASS_NAMES:
                raise DatasetError(
                    f"the label {label!r} is mapped to the unknown class {class_name!r}: choose "
                    f"one of {', '.join(CLASS_NAMES)}"
                )


@dataclass(frozen=True, slots=True)
class _Image:
    """An image as found: its file relative to the folder, zip or table, its label and stamp."""

    file: str
    label: str
    stamp: tuple[int, int]
    """Size in bytes, and modification time or CRC."""
    source: str | None = None
    patient_id: str | None = None
    split: str | None = None


def find_labels(path: Path | str) -> dict[str, int]:
    """Return the labels of images and their counts, sorted by name.

    Args:
        path: Folder or zip, where an image's label is the name of its folder (or of the folder
            above `images`) and folders named `masks` are ignored. Or a CSV table with the columns
            file (relative to the table) and label, and optionally patient_id, source and split.

    Raises:
        DatasetError: When there are no images, or columns or files are missing.
    """
    counts = Counter(image.label for image in _find_images(Path(path).expanduser().resolve()))
    return {label: counts[label] for label in sorted(counts, key=natural)}


def suggest_labels(names: Iterable[str]) -> dict[str, str]:
    """Return {label: class} of the unambiguous labels, ignoring case, spaces, _ and -."""
    meant = {spelling: name for name, spellings in _OBVIOUS.items() for spelling in spellings}
    plain = {name: re.sub(r"[\s_-]", "", name).casefold() for name in names}
    return {name: meant[spelling] for name, spelling in plain.items() if spelling in meant}


def import_file(name: str) -> Path:
    """Return the file that describes an import, whether it exists or not."""
    return cache_folder() / "imported" / f"{name}.json"


def list_imports() -> tuple[str, ...]:
    """Return the names of the imports, sorted; `open_dataset` opens one by its name."""
    names = (path.stem for path in import_file("x").parent.glob("*.json"))
    return tuple(sorted((name for name in names if _NAME.fullmatch(name)), key=natural))


def write_import(plan: ImportPlan) -> Path:
    """Store an import, replacing one of the same name, and return its file.

    Raises:
        DatasetError: As `find_labels` does, or for a mapped label that no image has: it is
            probably misspelled, and its images would be excluded silently.
    """
    found = find_labels(plan.root)
    absent = [label for label in plan.labels if label not in found]
    if absent:
        raise DatasetError(
            f"{plan.root} has no label {absent[0]!r}; its labels are {_listed(found)}"
        )
    path = import_file(plan.name)
    write_text(path, to_json(plan))
    return path


def read_import(path: Path | str) -> ImportPlan:
    """Read a stored import.

    Raises:
        DatasetError: When it is missing or damaged.
    """
    path = Path(path)
    try:
        return from_json(ImportPlan, path.read_text("utf-8"), f"the import {path.stem}")
    except FileNotFoundError:
        known = ", ".join(list_imports()) or "none"
        raise DatasetError(
            f"there is no import {path.stem} ({path} does not exist); there are: {known}"
        ) from None
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise DatasetError(
            f"{path} does not describe an import: {error}; import the images again"
        ) from error


def open_import(plan: ImportPlan) -> Dataset:
    """Open an import: the images whose labels are mapped, without decoding them.

    Classes may be empty. A sample's source is the table's, else the import's name.

    Raises:
        DatasetError: As `find_labels` does, or when no mapped label exists any more.
    """
    root = Path(plan.root)
    found = _find_images(root)
    kept = [(CLASS_NAMES.index(plan.labels[p.label]), p) for p in found if p.label in plan.labels]
    if not kept:
        labels = {image.label for image in found}
        raise DatasetError(
            f"{root} has no label {_listed(plan.labels)} any more, only {_listed(labels)}; import "
            "it again"
        )
    kept.sort(key=lambda pair: (pair[0], natural(pair[1].file)))
    fingerprint, state = digests({image.file: image.stamp for _, image in kept})
    return Dataset(
        path=root.parent if _is_table(root) else root,
        prefix="",
        samples=tuple(
            Sample(p.file, label, p.source or plan.name, p.patient_id, split=p.split)
            for label, p in kept
        ),
        fingerprint=fingerprint,
        state=state,
        synthetic=_is_synthetic(root),
        title=plan.name,
        labels=dict(plan.labels),
        left_out=len(found) - len(kept),
    )


def copy_import(plan: ImportPlan, folder: Path) -> Path:
    """Copy an import to a new folder in the database's layout, atomically.

    Images become `<Class>/images/<Class>-<n>`; sources.csv has their source, patient, split and
    original file. A copy without images of some class cannot be trained on, but can be imported.

    Raises:
        DatasetError: When the folder exists, or as `open_import` does.
    """
    folder = folder.expanduser()
    if folder.exists():
        raise DatasetError(f"{folder} exists already; name a new folder")
    dataset, numbers = open_import(plan), Counter[str]()
    rows: list[Sequence[str]] = [("file", "source", "patient_id", "split", "original")]
    with new_folder(folder) as new, dataset.files() as files:
        for sample in tqdm(dataset.samples, desc="copying", disable=None):
            content, class_name = files.read(sample.file), dataset.class_names[sample.label]
            numbers[class_name] += 1
            stem = f"{class_name}-{numbers[class_name]}"
            name = f"{class_name}/images/{stem}{_suffix(sample.file, content)}"
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
            known = (value or "" for value in (sample.source, sample.patient_id, sample.split))
            rows.append((name, *known, sample.file))
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_text(new / "sources.csv", text.getvalue())
        if dataset.synthetic:
            write_text(new / MARKER, "Synthetic phantoms, not radiographs.\n")
    return folder


def _suffix(file: str, content: bytes) -> str:
    """Suffix of a copy; files named in a table may have any."""
    suffix = PurePosixPath(file).suffix.lower()
    return suffix if suffix in SUFFIXES else ".dcm" if is_dicom(content) else ".png"


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.is_dir()


def _is_synthetic(root: Path) -> bool:
    """Whether phantoms are marked as such; folders below a table's are not searched."""
    if _is_table(root):
        return (root.parent / MARKER).is_file()
    with open_files(root) as files:
        return any(PurePosixPath(file).name == MARKER for file in files.list())


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(sorted(labels, key=natural))


def _find_images(root: Path) -> list[_Image]:
    images = _read_table(root) if _is_table(root) else _read_folders(root)
    if not images:
        expected = (
            "one row per image"
            if _is_table(root)
            else "PNG, JPEG, TIFF or DICOM files in one folder per label"
        )
        raise DatasetError(f"{root} contains no images: expected {expected}")
    return images


def _read_folders(root: Path) -> list[_Image]:
    with open_files(root) as files:
        listing = files.list()
    top = root.name if root.is_dir() else root.stem
    images = []
    for file, stamp in listing.items():
        *folders, _ = PurePosixPath(file).parts
        lower = [folder.lower() for folder in folders]
        if file.lower().endswith(SUFFIXES) and "masks" not in lower:
            above = [top, *(folders[:-1] if lower[-1:] == ["images"] else folders)]
            images.append(_Image(file, above[-1], stamp))
    return images


def _read_table(table: Path) -> list[_Image]:
    try:
        reader = csv.DictReader(io.StringIO(table.read_bytes().decode("utf-8-sig"), newline=""))
        columns, rows = list(reader.fieldnames or ()), [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise DatasetError(f"there is no table {table}; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"cannot read {table}: {error}; save it again as CSV in UTF-8"
        ) from error
    if not {"file", "label"} <= set(columns):
        raise DatasetError(
            f"{table} must have the columns file and label, separated by commas, and may have "
            f"patient_id, source and split, got {', '.join(columns) or 'none'}"
        )
    images: dict[str, _Image] = {}
    missing = []
    for line, row in rows:
        cell = {column: (row[column] or "").strip() for column in columns}
        file = cell["file"].replace("\\", "/")
        if not file or not cell["label"]:
            raise DatasetError(
                f"line {line} of {table} has no {'label' if file else 'file'}; fill it in or "
                "delete the line"
            )
        if file in images:
            raise DatasetError(
                f"{table} names {file} twice, again in line {line}; delete one of the lines"
            )
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise DatasetError(
                f"{table} names {file}, which is outside the folder of the table; move the table "
                "to a folder that contains its images"
            )
        path = table.parent / file
        if not path.is_file():
            missing.append(file)
            continue
        status = path.stat()
        known = (cell.get(column) or None for column in ("source", "patient_id", "split"))
        images[file] = _Image(file, cell["label"], (status.st_size, status.st_mtime_ns), *known)
    if missing:
        raise DatasetError(
            f"{len(missing):,} of the {len(rows):,} files that {table} names do not exist, the "
            f"first is {missing[0]}; names must be relative to the folder of the table"
        )
    return list(images.values())
