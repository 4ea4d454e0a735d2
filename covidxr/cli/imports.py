"""Commands that bring data: dataset import, dataset fetch."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from covidxr.cli.output import Json, make_table, print_result
from covidxr.errors import ConfigError, DatasetError

_KAGGLE = "tawsifurrahman/covid19-radiography-database"
_BY_HAND = (
    f"download the zip by hand at https://www.kaggle.com/datasets/{_KAGGLE} and name it, unzipped or not, where a command asks "
    "for --data"
)


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder or zip with a folder for each label, or a CSV table: file,label."
        ),
    ],
    name: Annotated[
        str, typer.Option(help="What to call the dataset; --data takes this name from then on.")
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="THEIRS=OURS, such as tb=Lung_Opacity; may be repeated. Without it, obvious names."
        ),
    ] = None,
    copy: Annotated[
        Path | None, typer.Option(help="New folder for a copy in the database's own layout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take pictures of your own as a dataset: say which class each of their labels stands for. Nothing is copied unless asked.

    A table may have the columns patient_id, source and split as well; its files are relative to it.

    Example: covidxr dataset import hospital.zip --name hospital --label HEALTHY=Normal --label C19=COVID
    """
    from covidxr.datasets.custom import (
        ImportPlan,
        copy_import,
        find_labels,
        open_import,
        suggest_labels,
        write_import,
    )
    from covidxr.records import CLASS_NAMES

    root = path.expanduser().resolve()
    found = find_labels(root)
    labels = dict(_label_pair(text) for text in label) if label else suggest_labels(found)
    if not labels:
        raise DatasetError(
            f"none of the labels in {path} obviously is one of {', '.join(CLASS_NAMES)}; it has {', '.join(found)}. Say which "
            "they are with --label THEIRS=OURS"
        )
    plan = ImportPlan(name, str(root), labels)
    file = write_import(plan)
    if copy is not None:
        copy_import(plan, copy)
    dataset = open_import(plan)
    left_out = {theirs: n for theirs, n in found.items() if theirs not in labels}
    classes = dataset.class_counts()
    result = {
        "name": name,
        "root": str(root),
        "file": str(file),
        "fingerprint": dataset.fingerprint,
        "n": len(dataset.samples),
        "labels": labels,
        "classes": classes,
        "left_out": left_out,
        "copy": None if copy is None else str(copy),
    }

    def show(console: Console) -> None:
        rows = [[theirs, labels.get(theirs, "left out"), f"{n:,}"] for theirs, n in found.items()]
        console.print(
            make_table(
                f"{name}: {len(dataset.samples):,} images", ["label", "class", "images"], rows
            )
        )
        if copy is not None:
            console.print(f"copied to {copy}", markup=False)
        empty = [class_name for class_name, n in classes.items() if not n]
        if empty:
            console.print(
                f"without {', '.join(empty)}: fit for an external test, not for training",
                markup=False,
            )
        console.print(
            f"judge a model on it with: covidxr evaluate MODEL --external {name}", markup=False
        )

    print_result(result, as_json, show)


def _label_pair(text: str) -> tuple[str, str]:
    """Read THEIRS=OURS."""
    theirs, _, ours = text.rpartition("=")
    if not theirs or not ours:
        raise ConfigError(f"expected --label THEIRS=OURS, such as healthy=Normal, got {text!r}")
    return theirs, ours


def fetch(
    to: Annotated[
        Path | None,
        typer.Option(
            help="New folder for the database; without it, it stays in kagglehub's cache."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download the COVID-19 Radiography Database from Kaggle, and check that it is whole. A broken download goes on where it was.

    Needs kagglehub: pip install "covidxr[fetch]"

    Example: covidxr dataset fetch --to COVID-19_Radiography_Dataset
    """
    from covidxr.datasets.dataset import PUBLISHED_COUNTS
    from covidxr.datasets.opening import open_dataset
    from covidxr.storage import new_folder

    if to is not None and to.exists():
        raise DatasetError(
            f"there is a {to} already; name a folder that is yet to be, or use it as it is"
        )
    downloaded = _download()
    counts = open_dataset(downloaded).class_counts()
    wrong = {name: n for name, n in PUBLISHED_COUNTS.items() if counts.get(name) != n}
    if wrong:
        told = ", ".join(
            f"{counts.get(name, 0):,} {name} where {n:,} were published"
            for name, n in wrong.items()
        )
        raise DatasetError(
            f"what was downloaded to {downloaded} is not the whole database: {told}; delete it and fetch again, or {_BY_HAND}"
        )
    if to is not None:
        with new_folder(to) as new:
            shutil.copytree(downloaded, new, dirs_exist_ok=True)
    folder = to or downloaded
    lines = f"{sum(counts.values()):,} images in {folder}, as many of each class as were published"
    print_result(
        {"folder": str(folder), "classes": counts}, as_json, lambda c: c.print(lines, markup=False)
    )


def _download() -> Path:
    """Return the folder that kagglehub keeps the database in; a download that broke off goes on."""
    try:
        # By name, since it is an extra that need not be installed.
        kagglehub = importlib.import_module("kagglehub")
    except ImportError:
        raise DatasetError(
            f'kagglehub is not installed: pip install "covidxr[fetch]" and try again, or {_BY_HAND}'
        ) from None
    try:
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # it prints as it goes, and stdout is the result's
            return Path(kagglehub.dataset_download(_KAGGLE))
    # Its own errors and those of the libraries below it have no common root: no connection, no such version, a full disk.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(
            f"the database could not be downloaded ({reason}): check the connection and try again, which goes on where it broke "
            f"off, or {_BY_HAND}"
        ) from error
