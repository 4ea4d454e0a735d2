"""Downloads of a result: report, heat map and values."""

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
from covidxr.app.cache import Analysis, Case, lungs_of
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.figures import fit_screen, heat_overlay
from covidxr.prediction.report import report_case
from covidxr.records import RESEARCH_ONLY, Attribution, display_name
from covidxr.reports.dicom_report import case_report_dicom, writes_dicom
from covidxr.reports.sentences import prediction_set

if TYPE_CHECKING:
    from covidxr.reports.case_report import CaseReport

PHANTOM = (
    "This image is a synthetic phantom: predictions of a model for radiographs are meaningless."
)
_OPACITY = 0.6
_DICOM = (
    "ZIP of three files: image, structured report with the probabilities, and PDF, marked as "
    "research use and unverified. They contain no patient identifiers; assign them in your PACS."
)


def exports(card: ModelCard, case: Case, analysis: Analysis, attribution: Attribution) -> None:
    """Offer a result as PDF, PNG, JSON and, where highdicom is installed, DICOM.

    Each is written on request, and names neither file nor patient unless the user enters an ID.
    """
    lungs, stem = lungs_of(case), case.sha256[:8]
    label = st.text_input(
        "Case ID (optional)",
        max_chars=80,
        key=f"label {case.sha256}",
        help="Printed on the PDF. Without it, the report names neither file nor patient.",
    )

    def report() -> CaseReport:
        return report_case(
            card,
            fit_screen(case.image),
            analysis.prediction,
            analysis.stability,
            attribution,
            lungs,
            case.sha256,
            _remarks(case, analysis),
            label,
        )

    offers: list[tuple[str, Callable[[], bytes | str], str, str, str | None]] = [
        ("Report (PDF)", lambda: _pdf(report()), f"report-{stem}.pdf", "application/pdf", None),
        (
            "Heat map (PNG)",
            lambda: _heat_map(case, analysis, attribution),
            f"heat-map-{stem}.png",
            "image/png",
            None,
        ),
        (
            "Results (JSON)",
            lambda: _results(card, case, analysis, attribution),
            f"results-{stem}.json",
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
        for title, data, name, mime, explanation in offers:
            st.download_button(
                title,
                data,
                name,
                mime,
                on_click="ignore",
                icon=":material/download:",
                help=explanation,
            )


def _pdf(report: CaseReport) -> bytes:
    # Imported here, since fpdf2 takes a third of a second to load.
    from covidxr.reports.case_report import case_report_pdf

    return case_report_pdf(report)


def _dicom(report: CaseReport) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in case_report_dicom(report).items():
            archive.writestr(name, file)
    return content.getvalue()


def _heat_map(case: Case, analysis: Analysis, attribution: Attribution) -> bytes:
    note, content = PngInfo(), io.BytesIO()
    title, target = METHOD_TITLES[attribution.method], display_name(attribution.target)
    sentences = [RESEARCH_ONLY, f"{title} for {target}.", *_remarks(case, analysis)]
    if analysis.prediction.rejections:
        sentences += ["Input check failed:", *analysis.prediction.rejections]
    note.add_itxt("Comment", " ".join(sentences))
    overlay = heat_overlay(fit_screen(case.image), attribution.heat, _OPACITY)
    Image.fromarray(overlay).save(content, "PNG", pnginfo=note)
    return content.getvalue()


def _results(card: ModelCard, case: Case, analysis: Analysis, attribution: Attribution) -> str:
    prediction, sets = analysis.prediction, card.prediction_sets
    results: dict[str, Any] = {
        "note": RESEARCH_ONLY,
        "model_id": card.model_id,
        "weights_sha256": card.weights_sha256,
        "covidxr_version": covidxr.__version__,
        "input_sha256": case.sha256,
        "predicted": prediction.predicted,
        "probabilities": dict(prediction.probabilities),
        "gate": {"fitted": card.gate is not None, "refusals": prediction.rejections},
        "stability": asdict(analysis.stability),
        "prediction_set": prediction_set(sets, prediction.probabilities) if sets else None,
        "remarks": _remarks(case, analysis),
        "heat_map": {
            "method": attribution.method,
            "target": attribution.target,
            "native_grid": attribution.native_grid,
        },
    }
    return json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False)


def _remarks(case: Case, analysis: Analysis) -> tuple[str, ...]:
    return (
        *((PHANTOM,) if case.synthetic else ()),
        *analysis.warnings,
        *((analysis.padding,) if analysis.padding else ()),
    )
