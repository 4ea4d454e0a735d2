"""Commands that obtain data: dataset import, dataset fetch."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from covidxr.cli.output import Json, make_table, print_lines, print_result
from covidxr.errors import ConfigError, DatasetError
from covidxr.formatting import count
from covidxr.records import CLASS_NAMES, display_name

_KAGGLE = "tawsifurrahman/covid19-radiography-database"
_BY_HAND = (
    f"download the zip from https://www.kaggle.com/datasets/{_KAGGLE} and pass it, or the "
    "unzipped folder, as --data"
)


def import_(
    path: Annotated[
        Path,
        typer.Argument(help="Folder or zip with one folder per label, or a CSV file: file,label."),
    ],
    name: Annotated[str, typer.Option(help="Name of the dataset, which --data then accepts.")],
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=CLASS, such as tb=Lung_Opacity. Repeatable. Default: unambiguous names."
        ),
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(help="New folder for a copy in the layout of the original database."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import your own images as a dataset. They are referenced, and copied only with --copy.

    A CSV file may have the columns patient_id, source and split too; its paths are relative to it.

    Example: covidxr dataset import hospital.zip --name hospital --label HEALTHY=Normal
    """
    from covidxr.datasets.custom import (
        ImportPlan,
        copy_import,
        find_labels,
        open_import,
        suggest_labels,
        write_import,
    )

    root = path.expanduser().resolve()
    found = find_labels(root)
    labels = dict(_label_pair(text) for text in label) if label else suggest_labels(found)
    if not labels:
        raise DatasetError(
            f"no label of {path} is unambiguously one of {', '.join(CLASS_NAMES)}; it has "
            f"{', '.join(found)}. Map at least one with --label LABEL=CLASS"
        )
    plan = ImportPlan(name, str(root), labels)
    file = write_import(plan)
    if copy is not None:
        copy_import(plan, copy)
    dataset = open_import(plan)
    excluded = {own: n for own, n in found.items() if own not in labels}
    classes = dataset.class_counts()
    result = {
        "name": name,
        "root": str(root),
        "file": str(file),
        "fingerprint": dataset.fingerprint,
        "n": len(dataset.samples),
        "labels": labels,
        "classes": classes,
        "left_out": excluded,
        "copy": None if copy is None else str(copy),
    }

    def show(console: Console) -> None:
        rows = [
            [own, display_name(labels.get(own, "excluded")), f"{n:,}"] for own, n in found.items()
        ]
        title = f"{name}: {count(len(dataset.samples))}"
        console.print(make_table(title, ["label", "class", "images"], rows))
        if copy is not None:
            print_lines(console, f"copied to {copy}")
        empty = [display_name(class_name) for class_name, n in classes.items() if not n]
        if empty:
            purpose = "for external evaluation only, not for training"
            print_lines(console, f"no images of {', '.join(empty)}: {purpose}")
        print_lines(console, f"evaluate a model on it: covidxr evaluate MODEL --external {name}")

    print_result(result, as_json, show)


def _label_pair(text: str) -> tuple[str, str]:
    """Parse LABEL=CLASS."""
    label, _, class_name = text.rpartition("=")
    if not label or not class_name:
        raise ConfigError(f"expected --label LABEL=CLASS, such as healthy=Normal, got {text!r}")
    return label, class_name


def fetch(
    to: Annotated[
        Path | None,
        typer.Option(
            help="New folder for the database. Default: it stays in the cache of kagglehub."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download the COVID-19 Radiography Database from Kaggle and check that it is complete.

    An interrupted download continues. Needs kagglehub: pip install "covidxr\\[fetch]"

    Example: covidxr dataset fetch --to COVID-19_Radiography_Dataset
    """
    from covidxr.datasets.dataset import PUBLISHED_COUNTS
    from covidxr.datasets.opening import open_dataset
    from covidxr.storage import new_folder

    if to is not None and to.exists():
        raise DatasetError(f"{to} already exists; choose a new folder, or use it as --data")
    downloaded = _download()
    counts = open_dataset(downloaded).class_counts()
    wrong = {name: n for name, n in PUBLISHED_COUNTS.items() if counts.get(name) != n}
    if wrong:
        told = ", ".join(f"{counts.get(name, 0):,} of {n:,} {name}" for name, n in wrong.items())
        raise DatasetError(
            f"the download in {downloaded} is not the published database: {told} images; delete "
            f"it and repeat the command, or {_BY_HAND}"
        )
    if to is not None:
        with new_folder(to) as new:
            shutil.copytree(downloaded, new, dirs_exist_ok=True)
    folder = to or downloaded
    line = f"{count(sum(counts.values()))} in {folder}; the class counts match the publication"
    result = {"folder": str(folder), "classes": counts}
    print_result(result, as_json, lambda console: print_lines(console, line))


def _download() -> Path:
    """Return the folder in which kagglehub stores the database."""
    try:
        # By name, since it is an optional dependency.
        kagglehub = importlib.import_module("kagglehub")
    except ImportError:
        raise DatasetError(
            f'kagglehub is not installed: pip install "covidxr[fetch]", or {_BY_HAND}'
        ) from None
    try:
        # Its messages go to stderr: stdout holds the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            return Path(kagglehub.dataset_download(_KAGGLE))
    # Its errors and those of its own libraries have no common base class.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(
            f"the database could not be downloaded ({reason}): check the connection and repeat "
            f"the command to continue, or {_BY_HAND}"
        ) from error
