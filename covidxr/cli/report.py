"""The command that writes a case down: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from covidxr.cli.output import Json, print_result
from covidxr.records import RESEARCH_ONLY


def report(
    model: Annotated[str, typer.Argument(help="Model id.")],
    file: Annotated[Path, typer.Argument(help="Picture: PNG, JPEG, TIFF or DICOM.")],
    out: Annotated[Path, typer.Option(help="PDF to write.")],
    label: Annotated[
        str,
        typer.Option(help="Printed as it is; without it, the report names no file and no patient."),
    ] = "",
    dicom: Annotated[
        Path | None,
        typer.Option(help="Folder for the same as DICOM: picture, structured report, PDF."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of one picture as PDF: picture, heat map, probabilities, and what the model is worth.

    --dicom needs highdicom: pip install "covidxr[dicom]"

    Example: covidxr report covidxr-resnet18 scan.png --out report.pdf
    """
    from covidxr.prediction.loading import find_segmenter, load_classifier
    from covidxr.prediction.report import report_file

    result = report_file(load_classifier(model), file, find_segmenter(), out, label, dicom=dicom)

    def show(console: Console) -> None:
        console.print(f"{out}: {result['verdict']}. {RESEARCH_ONLY}", markup=False)
        for place in result["dicom"]:
            console.print(f"{place}: DICOM, unverified, without a patient", markup=False)
        for remark in result["remarks"]:
            console.print(f"- {remark}", markup=False, highlight=False)

    print_result(result, as_json, show)
