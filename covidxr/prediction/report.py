"""The report of one case: what is known of it put together, and written as PDF."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from covidxr.cards import ModelCard
from covidxr.errors import ImageError
from covidxr.explanation.localization import map_facts
from covidxr.images.reading import read_file, read_radiograph
from covidxr.lungs.masks import LungMask, resize_mask
from covidxr.models.architectures import architecture_title
from covidxr.models.classifier import Classifier, Segmenter
from covidxr.prediction.cases import explain, padding_sentence, reading_warnings, stability
from covidxr.prediction.log import log_use
from covidxr.records import Attribution, CasePrediction, GreyImage, Stability
from covidxr.reports.sentences import verdict
from covidxr.storage import write_bytes

if TYPE_CHECKING:
    from covidxr.reports.case_report import CaseReport


def report_case(
    card: ModelCard,
    image: GreyImage,
    prediction: CasePrediction,
    stability: Stability,
    attribution: Attribution,
    lungs: LungMask | None,
    input_sha256: str,
    remarks: tuple[str, ...] = (),
    label: str = "",
    created: datetime | None = None,
) -> CaseReport:
    """Return what the report of one case is made of, for `case_report_pdf` or `case_report_dicom` to write.

    image: (H, W) uint8.  lungs: None where no segmenter is stored.  input_sha256: of the file that the picture was read from.
    remarks: sentences that the reader must know, naming no patient.  label: typed in by the user, else the report names no one.
    created: with its time zone; without it, now.
    """
    from covidxr.reports.case_report import (
        CaseReport,  # here, since fpdf2 takes a third of a second to load
    )

    if card.synthetic:
        remarks = (
            "This model learned from synthetic phantoms: what it says of a real radiograph means nothing.",
            *remarks,
        )
    facts = (
        None
        if lungs is None
        else map_facts(attribution.heat, resize_mask(lungs, len(attribution.heat)))
    )
    network = architecture_title(card.architecture)
    date = created or datetime.now(UTC)
    return CaseReport(
        card,
        network,
        prediction,
        stability,
        image,
        attribution,
        facts,
        input_sha256,
        date,
        remarks,
        label,
    )


def report_file(
    model: Classifier,
    file: Path,
    segmenter: Segmenter | None,
    out: Path,
    label: str = "",
    created: datetime | None = None,
    dicom: Path | None = None,
) -> dict[str, Any]:
    """Write the report of a picture file as PDF and return as one JSON object what it says; the file's name is not in the PDF.

    label, created: as in `report_case`.  dicom: folder for the same as DICOM files, see `case_report_dicom`.
    Raises ImageError for a file that is not there, no picture, or one that no model may judge; ModelError as `load_model` does;
    ConfigError where DICOM files are asked for and highdicom is not installed.
    """
    from covidxr.reports.case_report import case_report_pdf
    from covidxr.reports.dicom_report import case_report_dicom

    content = read_file(file)
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        radiograph = read_radiograph(content, file.name)
        prediction = model.predict(radiograph)
    except ImageError:
        log_use(model.card, sha256, "unreadable")
        raise
    if refusals := prediction.refusals:
        log_use(model.card, sha256, "refused")
        raise ImageError(f"{file.name} is not judged: {' '.join(refusals)}")
    log_use(model.card, sha256, "answered", prediction.predicted)
    image = radiograph.image
    versions = stability(model, image)
    attribution = explain(model, image, prediction.predicted)
    padded = padding_sentence(image)
    remarks = (*reading_warnings(radiograph), *([padded] if padded else []))
    report = report_case(
        model.card,
        image,
        prediction,
        versions,
        attribution,
        segmenter.mask(image) if segmenter else None,
        sha256,
        remarks,
        label,
        created,
    )
    files = {out: case_report_pdf(report)}
    if dicom is not None:
        files |= {dicom / name: content for name, content in case_report_dicom(report).items()}
    for place, content in files.items():
        write_bytes(place, content)
    return {
        "model_id": model.card.model_id,
        "path": str(file),
        "input_sha256": sha256,
        "verdict": verdict(prediction),
        "predicted": prediction.predicted,
        "probabilities": dict(prediction.probabilities),
        "stability": asdict(versions),
        "remarks": remarks,
        "out": str(out),
        "dicom": [str(place) for place in files if place != out],
    }
