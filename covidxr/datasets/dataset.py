"""A dataset of radiographs: its samples, their files and what identifies them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from covidxr.images.containers import FolderFiles, ZipFiles, open_files
from covidxr.records import CLASS_NAMES

PUBLISHED_COUNTS = {
    "Normal": 10_192,
    "COVID": 3_616,
    "Viral Pneumonia": 1_345,
    "Lung_Opacity": 6_012,
}
"""Images of each class in the whole database, as published and as used in the baseline study."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One radiograph: its file (relative to the dataset), class index and origin, if known."""

    file: str
    label: int
    source: str | None = None
    patient_id: str | None = None
    mask: str | None = None
    split: str | None = None
    """As in the dataset's own table, if there; not checked."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """An opened dataset; `samples` are sorted by class, then by file name."""

    path: Path
    prefix: str
    samples: tuple[Sample, ...]
    fingerprint: str
    """Changes when a file is added, removed, renamed or resized; the same on every machine."""
    state: str
    """Changes also when a file is rewritten; decides whether cached pixels are current."""
    synthetic: bool
    class_names: tuple[str, ...] = CLASS_NAMES
    skipped: tuple[tuple[str, str], ...] = ()
    """Excluded files, each with the reason."""
    title: str = ""
    """Name of the import; empty for the database's own layout, as are the next two."""
    labels: dict[str, str] = field(default_factory=dict)
    """Class that each source label is mapped to."""
    left_out: int = 0
    """Number of images whose label is mapped to no class."""

    @property
    def name(self) -> str:
        """Name of the dataset on screen."""
        return (
            self.title
            or PurePosixPath(self.prefix).name
            or (self.path.name if self.path.is_dir() else self.path.stem)
        )

    def files(self) -> FolderFiles | ZipFiles:
        """Return access to the bytes of the dataset's files; close it, or use it in a `with`."""
        return open_files(self.path, self.prefix)

    def read(self, file: str) -> bytes:
        """Return the bytes of one file.

        Raises:
            DatasetError: When the file does not exist any more.
        """
        with self.files() as files:
            return files.read(file)

    def without(self, skipped: Iterable[tuple[str, str]]) -> Dataset:
        """Return the dataset without some files, given as (file, reason)."""
        skipped = tuple(skipped)
        excluded = {file for file, _ in skipped}
        samples = tuple(s for s in self.samples if s.file not in excluded)
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


def digests(stamps: Mapping[str, tuple[int, int]]) -> tuple[str, str]:
    """Return the fingerprint and the state of a dataset.

    Args:
        stamps: {file: (bytes, modification time or CRC)}.
    """
    fingerprint = _digest(f"{file}\t{length}" for file, (length, _) in stamps.items())
    return fingerprint, _digest(f"{file}\t{stamp}" for file, stamp in stamps.items())


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts COVID-2 before COVID-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
