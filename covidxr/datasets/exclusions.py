"""Exclusion lists: images that are not used for splits and training, as a CSV `file,reason`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from covidxr.errors import DatasetError
from covidxr.storage import write_text


def read_exclusions(path: Path) -> tuple[tuple[str, str], ...]:
    """Return (file, reason) of each row; files are relative to the dataset.

    Raises:
        DatasetError: For a file that is not an exclusion list.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read the exclusion list {path}: {error}") from error
    if rows and not {"file", "reason"} <= set(rows[0]):
        raise DatasetError(
            f"the exclusion list {path} must have the columns file and reason, got "
            f"{', '.join(map(str, rows[0]))}"
        )
    listed = tuple((row["file"] or "", row["reason"] or "") for row in rows)
    if any(not file for file, _ in listed):
        raise DatasetError(f"the exclusion list {path} has a row without a file")
    if len({file for file, _ in listed}) != len(listed):
        raise DatasetError(f"the exclusion list {path} names a file twice")
    return listed


def exclusions_csv(excluded: Sequence[tuple[str, str]]) -> str:
    """Return an exclusion list as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "reason"])
    writer.writerows(excluded)
    return text.getvalue()


def write_exclusions(path: Path, excluded: Sequence[tuple[str, str]]) -> None:
    """Write an exclusion list atomically."""
    write_text(path, exclusions_csv(excluded))
