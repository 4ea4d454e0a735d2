"""The command that writes the report of one case: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from covidxr.cli.output import Json, print_lines, print_result
from covidxr.records import RESEARCH_ONLY


def report(
    model: Annotated[str, typer.Argument(help="Model ID.")],
    file: Annotated[Path, typer.Argument(help="Image: PNG, JPEG, TIFF or DICOM.")],
    out: Annotated[Path, typer.Option(help="PDF to write.")],
    label: Annotated[
        str,
        typer.Option(help="Case ID, printed as typed. Default: none; the file name is not used."),
    ] = "",
    dicom: Annotated[
        Path | None,
        typer.Option(help="Folder for the report as DICOM: image, structured report, PDF."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a PDF report of one image: prediction, heat map, and the model's reported performance.

    --dicom needs highdicom: pip install "covidxr\\[dicom]"

    Example: covidxr report covidxr-resnet18 scan.png --out report.pdf
    """
    from covidxr.prediction.loading import find_segmenter, load_classifier
    from covidxr.prediction.report import report_file

    result = report_file(load_classifier(model), file, find_segmenter(), out, label, dicom=dicom)

    def show(console: Console) -> None:
        print_lines(
            console,
            f"{out}: {result['verdict']}. {RESEARCH_ONLY}",
            *(f"{path}: DICOM, unverified, without patient data" for path in result["dicom"]),
            *(f"- {remark}" for remark in result["remarks"]),
        )

    print_result(result, as_json, show)
