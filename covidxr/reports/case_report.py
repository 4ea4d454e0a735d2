"""Case report as PDF, one A4 page: image, prediction, heat map, and the model behind them."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import TTFFont
from PIL import Image

import covidxr
from covidxr.cards import ModelCard
from covidxr.explanation.localization import HeatMapLocation
from covidxr.figures import CLASS_COLORS, OTHER_CLASS, fit_screen, heat_overlay
from covidxr.formatting import percent, whole_percent
from covidxr.records import (
    RESEARCH_ONLY,
    Attribution,
    CasePrediction,
    GrayImage,
    Stability,
    display_name,
)
from covidxr.reports.sentences import (
    headline,
    heat_caption,
    input_check_sentence,
    localization_sentences,
    location_sentence,
    set_sentence,
    stability_sentence,
)

_FONTS = Path(__file__).parent / "fonts"
_FONT = "DejaVu"
_MARGIN, _WIDTH = 16.0, 178.0
"""Millimeters: side margins, and the width between them."""
_GAP, _IMAGE_HEIGHT, _BARS_HEIGHT = 6.0, 86.0, 22.0
_KEYS, _NAMES, _VALUES = 27.0, 40.0, 14.0
"""Millimeters: columns of the keys, the class names and the values of the bars."""
_INK, _FAINT, _TRACK, _SIGNAL = "#16202A", "#56616B", "#E9ECEF", "#9A3412"
_REPLACED = "\ufffd"
_LONGEST = 300
"""Characters of a text from outside that are printed."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseReport:
    """Contents of a case report. Only a label entered by the user may identify the patient."""

    card: ModelCard
    network: str
    """Display name of the architecture."""
    prediction: CasePrediction
    stability: Stability
    image: GrayImage
    attribution: Attribution
    facts: HeatMapLocation | None
    """Heat map and lungs; None without a lung segmenter."""
    input_sha256: str
    created: datetime
    """With its time zone."""
    remarks: tuple[str, ...] = ()
    """Warnings, a sentence each."""
    label: str = ""
    """Case ID as entered, or nothing."""


def case_report_pdf(report: CaseReport) -> bytes:
    """Return a report as PDF.

    One A4 page, or more for an unusually long card. Equal reports give equal bytes.
    """
    pdf = _Paper(report.created)
    pdf.begin(report)
    pdf.images(report)
    pdf.result(report)
    pdf.heat_map(report)
    pdf.model(report)
    return bytes(pdf.output())


class _Paper(FPDF):
    """The page and its sections, from top to bottom."""

    def __init__(self, created: datetime) -> None:
        super().__init__(format="A4")
        self.add_font(_FONT, "", _FONTS / "DejaVuSansCondensed.ttf")
        self.add_font(_FONT, "B", _FONTS / "DejaVuSansCondensed-Bold.ttf")
        font = self.fonts[_FONT.lower()]
        self._known = frozenset(font.cmap if isinstance(font, TTFFont) else ())
        self.set_margins(_MARGIN, 18, _MARGIN)
        # Aligns texts, rules and images.
        self.c_margin = 0.0
        self.set_auto_page_break(True, 16)
        self.set_creation_date(created)
        self.set_title("Case report")
        self.set_subject(RESEARCH_ONLY)
        self.set_creator(f"covidxr {covidxr.__version__}")
        self.set_lang("en")
        # Otherwise fpdf2 replaces {nb} in any text by the number of pages.
        self.alias_nb_pages(None)  # type: ignore[arg-type]
        self.add_page()

    def header(self) -> None:
        """Write the disclaimer at the top of every page."""
        self._edge(9, f"covidxr {covidxr.__version__}")

    def footer(self) -> None:
        """Repeat it at the bottom."""
        self._edge(self.h - 12, f"Page {self.page_no()}")

    def begin(self, report: CaseReport) -> None:
        """Write title, date, and case ID if there is one."""
        self._style(17, bold=True)
        self.cell(_WIDTH / 2, 8, "Case report")
        self._style(8.5, _FAINT)
        date = report.created.astimezone(UTC)
        self.cell(
            _WIDTH / 2,
            8,
            f"{date:%d %B %Y, %H:%M} UTC",
            align="R",
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        if report.label.strip():
            self._paragraph(f"Case ID: {_cut(report.label.strip())}", 9)
        self.ln(2)

    def images(self, report: CaseReport) -> None:
        """Draw the image and the heat map side by side, with captions."""
        image = fit_screen(report.image)
        overlay = heat_overlay(image, report.attribution.heat, opacity=0.6)
        width = (_WIDTH - _GAP) / 2
        scale = min(width / image.shape[1], _IMAGE_HEIGHT / image.shape[0])
        size, top = (image.shape[1] * scale, image.shape[0] * scale), self.get_y()
        below = top
        captions = ("Input image.", heat_caption(report.attribution))
        for i, (pixels, caption) in enumerate(zip((image, overlay), captions, strict=True)):
            left = _MARGIN + i * (width + _GAP)
            self._image(pixels, left + (width - size[0]) / 2, top, size, caption)
            self.set_xy(left, top + size[1] + 1.5)
            self._style(7.5, _FAINT)
            self.multi_cell(width, 3.6, self._legible(caption), align="L")
            below = max(below, self.get_y())
        self.set_y(below + 2.5)

    def result(self, report: CaseReport) -> None:
        """Write the prediction, its reliability, and the probabilities as bars."""
        if report.prediction.rejections:
            self._paragraph(
                input_check_sentence(report.card, report.prediction)[0], 10, _SIGNAL, bold=True
            )
            self._paragraph("The output below is unreliable.", 9, _SIGNAL)
        self._paragraph(headline(report.prediction), 15, bold=True)
        found = set_sentence(report.card, report.prediction)
        sentences = [*([found[0]] if found else []), stability_sentence(report.stability)]
        if not report.prediction.rejections:
            sentences.append(input_check_sentence(report.card, report.prediction)[0])
        self._paragraph(f"{'. '.join(sentences)}.")
        self.ln(1)
        probabilities = report.prediction.probabilities
        row = min(5.5, max(3.0, _BARS_HEIGHT / len(probabilities)))
        track = _WIDTH - _NAMES - _VALUES
        for name, p in probabilities.items():
            if self.will_page_break(row):
                self.add_page()
            top = self.get_y()
            self._style(9 if row > 4 else 7, bold=name == report.prediction.predicted)
            self.cell(_NAMES, row, self._fitting(display_name(name), _NAMES - 3))
            for share, color in ((1.0, _TRACK), (p, CLASS_COLORS.get(name, OTHER_CLASS))):
                self.set_fill_color(color)
                self.rect(_MARGIN + _NAMES, top + row * 0.18, track * share, row * 0.64, style="F")
            self.set_x(_MARGIN + _NAMES + track)
            self.cell(
                _VALUES,
                row,
                whole_percent(p),
                align="R",
                new_x=XPos.LMARGIN,
                new_y=YPos.NEXT,
            )
        self.ln(1)
        meaning = "Calibrated probabilities, valid only for images like the training data."
        self._paragraph(f"{meaning} Not a diagnosis.", 8, _FAINT)
        for remark in report.remarks:
            self._paragraph(_cut(remark), 9, _SIGNAL)

    def heat_map(self, report: CaseReport) -> None:
        """Write where the heat map is, and how well such heat maps localize."""
        self._heading("Heat map and its validation")
        where = "No lung segmenter available: the heat map cannot be assigned to a lung zone."
        if report.facts is not None:
            where = location_sentence(report.facts)
        self._paragraph(f"{display_name(report.attribution.target)}: {where}")
        self._paragraph(" ".join(localization_sentences(report.card, report.attribution.method)))
        self._paragraph(
            "The heat map shows model evidence, not pathology. "
            "It does not measure extent or exclude other findings."
        )

    def model(self, report: CaseReport) -> None:
        """Write the identity, performance and limitations of the model, and hashes."""
        card = report.card
        size, n = card.preprocessing.image_size, sum(card.class_counts.get("test", {}).values())
        titles = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
        measured = ", ".join(
            f"{title} {percent(card.metrics[key])}"
            for key, title in titles.items()
            if key in card.metrics
        )
        data = "synthetic phantoms, not radiographs" if card.synthetic else card.dataset_name
        n_train = sum(card.class_counts.get("train", {}).values())
        self._heading("Model")
        facts = {
            "Model ID": card.model_id,
            "Network": f"{report.network}, input {size} x {size} px",
            "Trained on": f"{data}, {n_train:,} images",
            "Test set": f"{measured}, n = {n:,}" if measured else "not evaluated",
            "Limitations": "\n".join(f"• {_cut(limit)}" for limit in card.limits) or "none stated",
            "Versions": f"covidxr {covidxr.__version__}; trained with covidxr "
            f"{card.covidxr_version}, torch {card.torch_version}",
            "Weights": f"sha256 {card.weights_sha256[:16]}…",
            "Input file": f"sha256 {report.input_sha256}",
        }
        for key, text in facts.items():
            self._fact(key, text if key == "Limitations" else _cut(text))

    def _paragraph(self, text: str, size: float = 9, color: str = _INK, bold: bool = False) -> None:
        """Write a text over as many lines as it needs."""
        self._style(size, color, bold)
        self.multi_cell(
            _WIDTH, size * 0.49, self._legible(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )
        self.ln(0.6)

    def _legible(self, text: str) -> str:
        """The text with characters that the font lacks replaced, and control characters removed."""
        text = "".join(_letter(one, self._known) for one in unicodedata.normalize("NFC", text))
        # Keeps `n = 66` on one line.
        return text.replace(" = ", "\u00a0=\u00a0")

    def _heading(self, text: str) -> None:
        self.ln(1.2)
        self.set_draw_color(_TRACK)
        self.line(_MARGIN, self.get_y(), _MARGIN + _WIDTH, self.get_y())
        self.ln(1.8)
        self._paragraph(text, 10, bold=True)

    def _fact(self, key: str, text: str) -> None:
        if self.will_page_break(4.2):
            self.add_page()
        self._style(8, _FAINT)
        self.cell(_KEYS, 4.1, key)
        self._style(8)
        self.multi_cell(
            _WIDTH - _KEYS, 4.1, self._legible(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )

    def _image(
        self,
        pixels: npt.NDArray[np.uint8],
        left: float,
        top: float,
        size: tuple[float, float],
        caption: str,
    ) -> None:
        self.image(Image.fromarray(pixels), left, top, *size, alt_text=self._legible(caption))

    def _edge(self, top: float, right: str) -> None:
        self.set_y(top)
        self._style(8, _SIGNAL, bold=True)
        self.cell(_WIDTH * 0.7, 4, RESEARCH_ONLY)
        self._style(7.5, _FAINT)
        self.cell(_WIDTH * 0.3, 4, right, align="R")
        self.set_xy(_MARGIN, self.t_margin)

    def _fitting(self, text: str, width: float) -> str:
        """As much of a text as fits on one line of a width in millimeters."""
        text = self._legible(_cut(text))
        if self.get_string_width(text) <= width:
            return text
        while text and self.get_string_width(text + "…") > width:
            text = text[:-1]
        return text + "…"

    def _style(self, size: float, color: str = _INK, bold: bool = False) -> None:
        self.set_font(_FONT, "B" if bold else "", size)
        self.set_text_color(color)


def _letter(letter: str, known: Collection[int]) -> str:
    kind = unicodedata.category(letter)
    if letter == "\n" or kind == "Zs":
        return letter if ord(letter) in known else "\n" if letter == "\n" else " "
    # Controls and direction marks are invisible and may change what a text seems to say.
    if kind in ("Cc", "Cf", "Zl", "Zp"):
        return ""
    return letter if ord(letter) in known else _REPLACED


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
