"""One's own pictures: a folder, a zip or a table, whose labels are taken for the database's classes; nothing is copied unasked."""

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
from covidxr.images.reading import SUFFIXES
from covidxr.records import CLASS_NAMES
from covidxr.storage import from_json, new_folder, to_json, write_text

_OBVIOUS = {
    "Normal": ("normal", "healthy", "nofinding", "nofindings"),
    "COVID": ("covid", "covid19"),
    "Viral Pneumonia": ("viralpneumonia",),
    "Lung_Opacity": ("lungopacity", "opacity"),
}
"""Spellings that mean one class and no other. A plain "pneumonia" may be bacterial or viral, and COVID is a pneumonia too."""
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """A dataset of one's own: where it lies, and which class each of its labels is taken for."""

    name: str
    root: str
    """Absolute path of a folder, a zip or a CSV table."""
    labels: dict[str, str]
    """Their label: ours. Pictures whose label is absent here are left out."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DatasetError(
                f"{self.name!r} is no name for an import: letters, digits, dots, - and _ make one"
            )
        if not Path(self.root).is_absolute():
            raise DatasetError(
                f"an import needs the absolute path of a folder, a zip or a CSV file, got {self.root!r}"
            )
        if not self.labels:
            raise DatasetError(
                f"an import needs a label that is taken for one of {', '.join(CLASS_NAMES)}, got none"
            )
        for theirs, ours in self.labels.items():
            if ours not in CLASS_NAMES:
                raise DatasetError(
                    f"there is no class {ours!r} to take {theirs!r} for: choose one of {', '.join(CLASS_NAMES)}"
                )


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture as found: its file relative to the folder, zip or table, their label, its size and time (or CRC)."""

    file: str
    label: str
    stamp: tuple[int, int]
    source: str | None = None
    patient_id: str | None = None
    split: str | None = None


def find_labels(path: Path | str) -> dict[str, int]:
    """Return the labels of the pictures in a folder, a zip or a CSV table, with their counts, in the order of their names.

    In a folder or zip a picture's label is the name of its folder, or of the folder above where that one is called images; what
    lies below masks is left out. A table has the columns file (relative to the table) and label, and may have patient_id, source
    and split.
    Raises DatasetError when there are no pictures, columns are missing or files are not there.
    """
    counts = Counter(picture.label for picture in _find_pictures(Path(path).expanduser().resolve()))
    return {label: counts[label] for label in sorted(counts, key=natural)}


def suggest_labels(names: Iterable[str]) -> dict[str, str]:
    """Return the classes that labels obviously stand for, whatever their case, spaces, _ and -; the others are left out."""
    meant = {spelling: ours for ours, spellings in _OBVIOUS.items() for spelling in spellings}
    plain = {name: re.sub(r"[\s_-]", "", name).casefold() for name in names}
    return {name: meant[spelling] for name, spelling in plain.items() if spelling in meant}


def import_file(name: str) -> Path:
    """Return where the import of a name is described, or will be."""
    return cache_folder() / "imported" / f"{name}.json"


def list_imports() -> tuple[str, ...]:
    """Return the names of the imports, sorted; `open_dataset` opens one by its name."""
    return tuple(
        sorted(
            (
                path.stem
                for path in import_file("x").parent.glob("*.json")
                if _NAME.fullmatch(path.stem)
            ),
            key=natural,
        )
    )


def write_import(plan: ImportPlan) -> Path:
    """Describe an import on disk, in place of one of the same name; return the file. Raises DatasetError as `find_labels` does.

    A label that no picture has is refused too: it is a slip of the pen, and its pictures would be left out in silence.
    """
    found = find_labels(plan.root)
    absent = [label for label in plan.labels if label not in found]
    if absent:
        raise DatasetError(f"{plan.root} has no label {absent[0]!r}; it has {_listed(found)}")
    path = import_file(plan.name)
    write_text(path, to_json(plan))
    return path


def read_import(path: Path | str) -> ImportPlan:
    """Read an import's description back. Raises DatasetError when it is missing or damaged."""
    path = Path(path)
    try:
        return from_json(ImportPlan, path.read_text("utf-8"), f"the import {path.stem}")
    except FileNotFoundError:
        known = ", ".join(list_imports()) or "none"
        raise DatasetError(
            f"there is no import {path.stem} ({path} is not there); there are: {known}"
        ) from None
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise DatasetError(
            f"{path} does not describe an import: {error}; import the pictures again"
        ) from error


def open_import(plan: ImportPlan) -> Dataset:
    """List the pictures of an import whose labels are mapped; nothing is decoded yet. Classes may be without any.

    A sample's source is the table's, else the import's name. Raises DatasetError as `find_labels` does, or when nothing is mapped.
    """
    root = Path(plan.root)
    found = _find_pictures(root)
    kept = [(CLASS_NAMES.index(plan.labels[p.label]), p) for p in found if p.label in plan.labels]
    if not kept:
        labels = {picture.label for picture in found}
        raise DatasetError(
            f"{root} has no label {_listed(plan.labels)} any more, only {_listed(labels)}; import it again"
        )
    kept.sort(key=lambda pair: (pair[0], natural(pair[1].file)))
    fingerprint, state = digests({picture.file: picture.stamp for _, picture in kept})
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
    """Write an import as a folder in the database's own layout, whole or not at all: `<Class>/images/<Class>-<n>`, sources.csv.

    sources.csv holds what the table said of each picture, and its original file. Raises DatasetError when the folder is there
    already, or as `open_import` does. A copy without pictures of some class is no database to train on, but can be imported.
    """
    folder = folder.expanduser()
    if folder.exists():
        raise DatasetError(f"there is a {folder} already; name a folder that is yet to be")
    dataset, numbers = open_import(plan), Counter[str]()
    rows: list[Sequence[str]] = [("file", "source", "patient_id", "split", "original")]
    with new_folder(folder) as new, dataset.files() as files:
        for sample in tqdm(dataset.samples, desc="copying", disable=None):
            content, class_name = files.read(sample.file), dataset.class_names[sample.label]
            numbers[class_name] += 1
            name = f"{class_name}/images/{class_name}-{numbers[class_name]}{_suffix(sample.file, content)}"
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
            rows.append(
                (
                    name,
                    sample.source or "",
                    sample.patient_id or "",
                    sample.split or "",
                    sample.file,
                )
            )
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_text(new / "sources.csv", text.getvalue())
        if dataset.synthetic:
            write_text(new / MARKER, "Synthetic phantoms, not radiographs.\n")
    return folder


def _suffix(file: str, content: bytes) -> str:
    """The suffix of a copy; a table may name files that have none of those by which pictures are found in folders."""
    suffix = PurePosixPath(file).suffix.lower()
    return suffix if suffix in SUFFIXES else ".dcm" if content[128:132] == b"DICM" else ".png"


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.is_dir()


def _is_synthetic(root: Path) -> bool:
    """Whether phantoms say that they are; a table's folder may be anywhere, so what lies below it is not searched."""
    if _is_table(root):
        return (root.parent / MARKER).is_file()
    with open_files(root) as files:
        return any(PurePosixPath(file).name == MARKER for file in files.list())


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(sorted(labels, key=natural))


def _find_pictures(root: Path) -> list[_Picture]:
    pictures = _read_table(root) if _is_table(root) else _read_folders(root)
    if not pictures:
        where = (
            "rows under its columns"
            if _is_table(root)
            else "PNG, JPEG, TIFF or DICOM files in a folder for each label"
        )
        raise DatasetError(f"{root} holds no pictures: expected {where}")
    return pictures


def _read_folders(root: Path) -> list[_Picture]:
    with open_files(root) as files:
        listing = files.list()
    above = root.name if root.is_dir() else root.stem
    pictures = []
    for file, stamp in listing.items():
        folders = [above, *PurePosixPath(file).parts[:-1]]
        if file.lower().endswith(SUFFIXES) and "masks" not in (
            folder.lower() for folder in folders[1:]
        ):
            label = (
                folders[-2] if len(folders) > 1 and folders[-1].lower() == "images" else folders[-1]
            )
            pictures.append(_Picture(file, label, stamp))
    return pictures


def _read_table(table: Path) -> list[_Picture]:
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
            f"{table} must have the columns file and label, with commas between, and may have patient_id, source and split, got "
            f"{', '.join(columns) or 'none'}"
        )
    pictures: dict[str, _Picture] = {}
    missing = []
    for line, row in rows:
        cell = {column: (row[column] or "").strip() for column in columns}
        file = cell["file"].replace("\\", "/")
        if not file or not cell["label"]:
            raise DatasetError(
                f"line {line} of {table} has no {'label' if file else 'file'}; fill it in or delete the line"
            )
        if file in pictures:
            raise DatasetError(
                f"{table} names {file} twice, the second time in line {line}; keep one of the lines"
            )
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise DatasetError(
                f"{table} names {file}, which does not lie beside or below it; move the table above its pictures"
            )
        path = table.parent / file
        if not path.is_file():
            missing.append(file)
            continue
        status = path.stat()
        known = (cell.get(column) or None for column in ("source", "patient_id", "split"))
        pictures[file] = _Picture(file, cell["label"], (status.st_size, status.st_mtime_ns), *known)
    if missing:
        raise DatasetError(
            f"{len(missing):,} of the {len(rows):,} files that {table} names are not there, the first is {missing[0]}; names are "
            "relative to the table"
        )
    return list(pictures.values())
