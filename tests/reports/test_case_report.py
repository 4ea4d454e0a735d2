"""Case reports, read back as text by pypdf and rendered by pypdfium2."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from covidxr.explanation.localization import HeatMapLocation
from covidxr.formatting import percent
from covidxr.models.store import read_card
from covidxr.records import RESEARCH_ONLY, Attribution, CasePrediction, Stability, display_name
from covidxr.reports.case_report import CaseReport, case_report_pdf

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
SHIPPED = ("poster-cnn", "poster-resnet18-scratch", "covidxr-resnet18", "covidxr-resnet18-lungs")
PROBABILITIES = {
    "Normal": 0.2031,
    "COVID": 0.7449,
    "Viral Pneumonia": 0.0488,
    "Lung_Opacity": 0.0032,
}
SHA256 = "0123456789abcdef" * 4


def case(model_id: str = "covidxr-resnet18", shape: tuple[int, int] = (96, 96)) -> CaseReport:
    heat = np.zeros((224, 224), dtype=np.float32)
    heat[50:80, 40:90] = 1
    return CaseReport(
        read_card(WEIGHTS / model_id),
        "ResNet-18",
        CasePrediction(model_id, PROBABILITIES),
        Stability({name: (p * 0.9, p) for name, p in PROBABILITIES.items()}, ("COVID",) * 6),
        np.full(shape, 90, dtype=np.uint8),
        Attribution("gradcam", "COVID", heat, (7, 7)),
        HeatMapLocation(0.72, 0.31, "right lower", 0.6),
        SHA256,
        datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
    )


def pages(report: CaseReport) -> list[str]:
    """The text of each page, each run of white space one space."""
    reader = PdfReader(io.BytesIO(case_report_pdf(report)))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


@pytest.mark.parametrize("model_id", SHIPPED)
def test_one_page_shows_the_card_and_the_probabilities(model_id: str) -> None:
    report = case(model_id)
    card = report.card
    (text,) = pages(report)
    for name, written in (
        ("Normal", "20%"),
        ("COVID", "74%"),
        ("Viral Pneumonia", "5%"),
        ("Lung_Opacity", "<1%"),
    ):
        assert f"{display_name(name)} {written}" in text
    assert "COVID-19 (74%) favored over Normal (20%)" in text
    n = sum(card.class_counts["test"].values())
    accuracy, macro_f1 = (percent(card.metrics[key]) for key in ("accuracy", "macro_f1"))
    assert f"Test set accuracy {accuracy}, macro-F1 {macro_f1}, n = {n:,}" in text
    assert "COVID-19: 72% of the heat-map energy is within the lungs" in text
    for expected in (
        *card.limits,
        card.model_id,
        card.dataset_name,
        card.weights_sha256[:16],
        SHA256,
        card.covidxr_version,
    ):
        assert expected in text
    assert "23 November 2026, 09:30 UTC" in text
    assert text.count(RESEARCH_ONLY) == 2
    assert "7 x 7 grid" in text


def test_only_a_case_id_names_anyone() -> None:
    (without,) = pages(case())
    assert "Case ID" not in without
    (named,) = pages(replace(case(), label="  Ștefan\nȚepeș, 54 "))
    assert "Case ID: Ștefan Țepeș, 54 " in named
    data = case_report_pdf(replace(case(), label="Ștefan"))
    assert "Ștefan" not in str(PdfReader(io.BytesIO(data)).metadata)


def test_remarks_and_a_missing_segmenter_are_stated() -> None:
    (text,) = pages(replace(case(), facts=None, remarks=("The view is not known.",)))
    assert "The view is not known." in text
    assert "No lung segmenter available" in text


def test_equal_reports_are_equal_bytes_at_any_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, now = case_report_pdf(case()), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert case_report_pdf(case()) == first
    metadata = PdfReader(io.BytesIO(first)).metadata
    assert metadata is not None
    assert metadata.creation_date == case().created
    assert case_report_pdf(replace(case(), input_sha256="f" * 64)) != first


def test_missing_glyphs_are_replaced_and_direction_marks_removed() -> None:
    (text,) = pages(replace(case(), label="a\u202eb\x00c 肺 \ud800 😀 {nb} **d** <b>"))
    assert "Case ID: abc \ufffd \ufffd \ufffd {nb} **d** <b> " in text


HOSTILE = st.text(max_size=400) | st.sampled_from(
    ["W" * 5000, "", "\n" * 50, "\ud800", "{nb}", "e" + "\u0301" * 300, "\u00ad" * 9]
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(HOSTILE, HOSTILE, st.lists(HOSTILE, max_size=12))
def test_no_text_breaks_the_layout(name: str, label: str, more: list[str]) -> None:
    report = case()
    classes = {name + "A": 0.6, name + "B": 0.3, "C": 0.1}
    card = replace(
        report.card,
        model_id=name,
        dataset_name=name,
        limits=tuple(more),
        localisation=(),
        prediction_sets=None,
    )
    hostile = replace(
        report,
        card=card,
        prediction=CasePrediction(name, classes),
        attribution=replace(report.attribution, target=name + "A"),
        label=label,
        remarks=tuple(more),
    )
    for text in pages(hostile):
        assert text.count(RESEARCH_ONLY) == 2


def test_many_classes_are_all_shown() -> None:
    report = case()
    report = replace(
        report,
        card=replace(report.card, prediction_sets=None),
        prediction=CasePrediction("m", {f"Finding {i}": 1 / 60 for i in range(60)}),
    )
    text = " ".join(pages(report))
    assert all(f"Finding {i} 2%" in text for i in range(60))
    with pypdfium2.PdfDocument(case_report_pdf(report)) as document:
        for page in document:
            bounds = [
                o.get_bounds()
                for o in page.get_objects()
                if o.type == pypdfium2.raw.FPDF_PAGEOBJ_PATH
            ]
            tracks = sorted(bottom for left, bottom, right, _ in bounds if 340 < right - left < 360)
            # Evenly spaced, also after a page break.
            assert np.ptp(np.diff(tracks)) < 0.1
            assert len(tracks) > 5


def test_the_prediction_set_is_shown() -> None:
    report = case()
    assert report.card.prediction_sets is not None
    sets = replace(
        report.card.prediction_sets,
        thresholds={"Normal": 0.2, "COVID": 0.7, "Viral Pneumonia": 0.5, "Lung_Opacity": 0.5},
    )
    (text,) = pages(replace(report, card=replace(report.card, prediction_sets=sets)))
    assert "90% prediction set: {Normal, COVID-19}." in text
    nothing = replace(sets, thresholds=dict.fromkeys(sets.thresholds, 0.9))
    assert (
        "90% prediction set: empty (the model abstains)."
        in pages(replace(report, card=replace(report.card, prediction_sets=nothing)))[0]
    )


def test_stability_and_input_check_are_shown() -> None:
    (text,) = pages(case())
    assert "Stable under horizontal flip and ±5° rotation (67% to 74%)." in text
    assert "Input check passed" in text
    rejected = replace(
        case(),
        prediction=CasePrediction("covidxr-resnet18", PROBABILITIES, ("Nearly black.",)),
    )
    (text,) = pages(rejected)
    assert (
        text.index("Input check failed: Nearly black.")
        < text.index("The output below is unreliable.")
        < text.index("COVID-19 (74%) favored over")
    )
    assert "Input check passed" not in text


def test_bars_are_as_long_as_the_probabilities() -> None:
    with pypdfium2.PdfDocument(case_report_pdf(case())) as document:
        page = np.asarray(document[0].render(scale=2).to_pil().convert("RGB")).astype(int)
    track = _width(page, "#E9ECEF") + _width(page, "#D55E00")
    assert _width(page, "#D55E00") / track == pytest.approx(0.7449, abs=0.01)


def _width(page: np.ndarray, color: str) -> int:
    """Pixels of a color in the middle row of the orange bar."""
    orange = np.flatnonzero((np.abs(page - _rgb("#D55E00")).max(axis=2) < 4).sum(axis=1) > 100)
    row = page[(orange[0] + orange[-1]) // 2]
    return int((np.abs(row - _rgb(color)).max(axis=1) < 4).sum())


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])


@pytest.mark.parametrize("shape", [(300, 100), (100, 300), (2000, 1500)])
def test_images_keep_their_aspect_ratio_and_their_side_of_the_page(shape: tuple[int, int]) -> None:
    with pypdfium2.PdfDocument(case_report_pdf(case(shape=shape))) as document:
        assert len(document) == 1
        page = document[0]
        boxes = [o.get_bounds() for o in page.get_objects() if isinstance(o, pypdfium2.PdfImage)]
        middle = page.get_width() / 2
    assert len(boxes) == 2
    for left, bottom, right, top in boxes:
        assert (right - left) / (top - bottom) == pytest.approx(shape[1] / shape[0], rel=0.01)
    assert 0 < boxes[0][0] < boxes[0][2] < middle < boxes[1][0] < boxes[1][2] < 2 * middle
