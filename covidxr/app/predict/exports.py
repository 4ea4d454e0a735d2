"""What a reader takes home of an answer: the report, the heat map, the figures."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import streamlit as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import covidxr
from covidxr.app.cache import Case, Picture, lungs_of
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.figures import heat_overlay
from covidxr.prediction.report import report_case
from covidxr.records import RESEARCH_ONLY, Attribution
from covidxr.reports.dicom_report import case_report_dicom, writes_dicom
from covidxr.reports.sentences import prediction_set

if TYPE_CHECKING:
    from covidxr.reports.case_report import CaseReport

_OPACITY = 0.6
_DICOM = (
    "A zip of three files: the picture, a structured report of the probabilities, and the PDF. They are marked as research and as "
    "unverified, and have no patient: whose they are is yours to say."
)


def exports(card: ModelCard, picture: Picture, case: Case, attribution: Attribution) -> None:
    """Offer an answer as PDF, PNG, JSON and, where highdicom is installed, DICOM; each is made when it is asked for.

    None names a file or a patient by itself.
    """
    lungs, stem = lungs_of(picture), picture.sha256[:8]
    label = st.text_input(
        "Label on the report (optional)",
        max_chars=80,
        key=f"label {picture.sha256}",
        help="Printed on the PDF as it is typed. Without it, the report names no file and no patient.",
    )

    def report() -> CaseReport:
        return report_case(
            card,
            case.image,
            case.prediction,
            case.stability,
            attribution,
            lungs,
            picture.sha256,
            _remarks(picture, case),
            label,
        )

    offers: list[tuple[str, Callable[[], bytes | str], str, str, str | None]] = [
        ("Report (PDF)", lambda: _pdf(report()), f"report-{stem}.pdf", "application/pdf", None),
        (
            "Heat map (PNG)",
            lambda: _heat_map(picture, case, attribution),
            f"heat-map-{stem}.png",
            "image/png",
            None,
        ),
        (
            "Figures (JSON)",
            lambda: _figures(card, picture, case, attribution),
            f"figures-{stem}.json",
            "application/json",
            None,
        ),
    ]
    if writes_dicom():
        offers.append(
            (
                "Report (DICOM)",
                lambda: _dicom(report()),
                f"report-{stem}.zip",
                "application/zip",
                _DICOM,
            )
        )
    with st.container(horizontal=True):
        for title, data, name, kind, what in offers:
            st.download_button(
                title, data, name, kind, on_click="ignore", icon=":material/download:", help=what
            )


def _pdf(report: CaseReport) -> bytes:
    from covidxr.reports.case_report import (
        case_report_pdf,  # here, since fpdf2 takes a third of a second to load
    )

    return case_report_pdf(report)


def _dicom(report: CaseReport) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, own in case_report_dicom(report).items():
            archive.writestr(name, own)
    return content.getvalue()


def _heat_map(picture: Picture, case: Case, attribution: Attribution) -> bytes:
    note, content = PngInfo(), io.BytesIO()
    told = (
        f"{RESEARCH_ONLY} {METHOD_TITLES[attribution.method]} for {attribution.target}.",
        *_remarks(picture, case),
    )
    refused = (
        f"Not judged: {' '.join(case.prediction.refusals)}" if case.prediction.refusals else ""
    )
    note.add_itxt("Comment", " ".join((*told, refused)).strip())
    Image.fromarray(heat_overlay(case.image, attribution.heat, _OPACITY)).save(
        content, "PNG", pnginfo=note
    )
    return content.getvalue()


def _figures(card: ModelCard, picture: Picture, case: Case, attribution: Attribution) -> str:
    found: dict[str, Any] = {
        "note": RESEARCH_ONLY,
        "model_id": card.model_id,
        "weights_sha256": card.weights_sha256,
        "covidxr_version": covidxr.__version__,
        "input_sha256": picture.sha256,
        "predicted": case.prediction.predicted,
        "probabilities": dict(case.prediction.probabilities),
        "gate": {"fitted": card.gate is not None, "refusals": case.prediction.refusals},
        "stability": asdict(case.stability),
        "prediction_set": prediction_set(card.prediction_sets, case.prediction.probabilities)
        if card.prediction_sets
        else None,
        "remarks": _remarks(picture, case),
        "heat_map": {
            "method": attribution.method,
            "target": attribution.target,
            "native_grid": attribution.native_grid,
        },
    }
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)


def _remarks(picture: Picture, case: Case) -> tuple[str, ...]:
    phantom = "This picture is a synthetic phantom: what a model of real radiographs says of it means nothing."
    return (
        *((phantom,) if picture.synthetic else ()),
        *case.warnings,
        *((case.padding,) if case.padding else ()),
    )
