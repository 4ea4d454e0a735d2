"""The command that classifies images: predict."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from covidxr.cli.output import Json, make_table, print_lines, print_result
from covidxr.errors import ConfigError
from covidxr.records import RESEARCH_ONLY, display_name


def predict(
    model: Annotated[str, typer.Argument(help="Model ID.")],
    paths: Annotated[
        list[str], typer.Argument(help="Images (PNG, JPEG, TIFF, DICOM), folders or zips.")
    ],
    explain: Annotated[
        Path | None, typer.Option(help="Folder for heat maps of the predicted classes, as PNG.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="CSV file for all rows, with uncertainty, warnings and errors."),
    ] = None,
    engine: Annotated[
        Literal["plain", "ray"],
        typer.Option(
            help="ray predicts one folder or address, such as s3://BUCKET/FOLDER, on all cores or "
            "a cluster."
        ),
    ] = "plain",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the rows of --engine ray, as Parquet. Repeat the command to continue."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the class probabilities of images. An unreadable image becomes a row with the reason.

    Example: covidxr predict covidxr-resnet18 scans/ --explain heatmaps
    """
    from covidxr.prediction.cases import predict_files
    from covidxr.prediction.loading import load_classifier

    if engine == "ray":
        if explain is not None or csv is not None:
            raise ConfigError(
                "--engine ray writes Parquet files into --out only: drop --explain and --csv"
            )
        if out is None or len(paths) != 1:
            raise ConfigError(
                "--engine ray takes one folder or address and writes into one folder: "
                "predict MODEL SOURCE --engine ray --out DIR"
            )
        _predict_archive(model, paths[0], out, as_json)
        return
    if out is not None:
        raise ConfigError(
            f"--out {out} is for --engine ray: add --engine ray, or use --csv FILE instead"
        )
    rows = predict_files(load_classifier(model), [Path(path) for path in paths], explain, csv)

    def show(console: Console) -> None:
        names = list(next((row["probabilities"] for row in rows if "probabilities" in row), {}))
        table = make_table(
            f"{model}. {RESEARCH_ONLY}",
            ["image", "predicted", *map(display_name, names)],
            [[row["path"], *_cells(row, names)] for row in rows],
        )
        console.print(table)

    print_result({"model_id": model, "predictions": rows}, as_json, show)
    if rows and all("error" in row for row in rows):
        sys.exit(2)


def _cells(row: dict[str, object], class_names: list[str]) -> list[str]:
    """Return the predicted class and the probabilities, or why there are none."""
    if "error" in row:
        return [f"{'rejected' if row['verdict'] == 'refused' else 'unreadable'}: {row['error']}"]
    probabilities = row["probabilities"]
    assert isinstance(probabilities, dict)
    return [
        display_name(str(row["predicted"])),
        *(f"{probabilities[name]:.1%}" for name in class_names),
    ]


def _predict_archive(model: str, source: str, out: Path, as_json: bool) -> None:
    from covidxr.prediction.archive import predict_archive

    counts = predict_archive(model, source, out)
    line = (
        f"{counts.files:,} files: {counts.answered:,} analyzed, {counts.refused:,} rejected, "
        f"{counts.unreadable:,} unreadable; {counts.skipped:,} of them in an earlier run. "
        f"Parquet files in {counts.out}. {RESEARCH_ONLY}"
    )
    result = {"engine": "ray"} | asdict(counts)
    print_result(result, as_json, lambda console: print_lines(console, line))
    if not counts.answered:
        sys.exit(2)
