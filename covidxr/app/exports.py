"""What a reader takes home of an answer: the report, the heat map, the figures."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import streamlit as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import covidxr
from covidxr import workflows
from covidxr.app.cache import Case, Picture
from covidxr.app.heat import lungs_of
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.data.lungs import LungMask
from covidxr.figures import heat_overlay
from covidxr.records import RESEARCH_ONLY, Attribution

_OPACITY = 0.6


def exports(card: ModelCard, picture: Picture, case: Case, attribution: Attribution) -> None:
    """Offer an answer as PDF, PNG and JSON, each made when it is asked for; none names a file or a patient by itself."""
    lungs, stem = lungs_of(picture), picture.sha256[:8]
    label = st.text_input(
        "Label on the report (optional)",
        max_chars=80,
        key=f"label {picture.sha256}",
        help="Printed on the PDF as it is typed. Without it, the report names no file and no patient.",
    )
    with st.container(horizontal=True):
        for title, data, name, kind in (
            (
                "Report (PDF)",
                lambda: _report(card, picture, case, attribution, lungs, label),
                f"report-{stem}.pdf",
                "application/pdf",
            ),
            ("Heat map (PNG)", lambda: _heat_map(case, attribution), f"heat-map-{stem}.png", "image/png"),
            ("Figures (JSON)", lambda: _figures(card, picture, case, attribution), f"figures-{stem}.json", "application/json"),
        ):
            st.download_button(title, data, name, kind, on_click="ignore", icon=":material/download:")


def _report(card: ModelCard, picture: Picture, case: Case, attribution: Attribution, lungs: LungMask | None, label: str) -> bytes:
    return workflows.report_case(
        card, case.image, case.prediction, case.stability, attribution, lungs, picture.sha256, _remarks(picture, case), label
    )


def _heat_map(case: Case, attribution: Attribution) -> bytes:
    note, content = PngInfo(), io.BytesIO()
    note.add_text("Comment", f"{RESEARCH_ONLY} {METHOD_TITLES[attribution.method]} for {attribution.target}.")
    Image.fromarray(heat_overlay(case.image, attribution.heat, _OPACITY)).save(content, "PNG", pnginfo=note)
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
        "remarks": _remarks(picture, case),
        "heat_map": {"method": attribution.method, "target": attribution.target, "native_grid": attribution.native_grid},
    }
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)


def _remarks(picture: Picture, case: Case) -> tuple[str, ...]:
    phantom = "This picture is a synthetic phantom: what a model of real radiographs says of it means nothing."
    return (*((phantom,) if picture.synthetic else ()), *case.warnings, *((case.padding,) if case.padding else ()))
