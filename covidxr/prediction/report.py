"""The report of one case, assembled and written as PDF and DICOM."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from covidxr.cards import ModelCard
from covidxr.errors import ImageError
from covidxr.explanation.localization import locate_heat_map
from covidxr.images.reading import read_file, read_radiograph
from covidxr.lungs.masks import LungMask, resize_mask
from covidxr.models.architectures import architecture_title
from covidxr.models.classifier import Classifier, Segmenter
from covidxr.prediction.cases import explain, padding_sentence, reading_warnings, stability
from covidxr.prediction.log import log_use
from covidxr.records import Attribution, CasePrediction, GrayImage, Stability
from covidxr.reports.sentences import headline
from covidxr.storage import write_bytes

if TYPE_CHECKING:
    from covidxr.reports.case_report import CaseReport


def report_case(
    card: ModelCard,
    image: GrayImage,
    prediction: CasePrediction,
    stability: Stability,
    attribution: Attribution,
    lungs: LungMask | None,
    input_sha256: str,
    remarks: tuple[str, ...] = (),
    label: str = "",
    created: datetime | None = None,
) -> CaseReport:
    """Assemble the report of one case, for `case_report_pdf` or `case_report_dicom`.

    Args:
        card: Of the model.
        image: (H, W) uint8.
        prediction: Of the image.
        stability: Of the prediction.
        attribution: Heat map of the predicted class.
        lungs: Lung mask; None if no segmenter is stored.
        input_sha256: Hash of the image file.
        remarks: Sentences for the reader, without patient data.
        label: Case ID as typed by the user; empty for none.
        created: Time with its zone; None for now.
    """
    # Imported here: fpdf2 takes a third of a second.
    from covidxr.reports.case_report import CaseReport

    if card.synthetic:
        remarks = (
            "This model was trained on synthetic phantoms: its results on real radiographs are "
            "meaningless.",
            *remarks,
        )
    facts = None
    if lungs is not None:
        facts = locate_heat_map(attribution.heat, resize_mask(lungs, len(attribution.heat)))
    return CaseReport(
        card,
        architecture_title(card.architecture),
        prediction,
        stability,
        image,
        attribution,
        facts,
        input_sha256,
        created or datetime.now(UTC),
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
    """Write the report of an image file as PDF, without the name of the file.

    Args:
        model: The classifier.
        file: The image.
        segmenter: For the lungs in the report; None for none.
        out: The PDF.
        label: As in `report_case`.
        created: As in `report_case`.
        dicom: Folder for the report as DICOM files, see `case_report_dicom`; None for none.

    Returns:
        The content of the report as one JSON object.

    Raises:
        ImageError: For a file that is missing, not an image, or rejected by the input check.
        ConfigError: For DICOM files without highdicom.
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
    if prediction.rejections:
        log_use(model.card, sha256, "refused")
        raise ImageError(f"{file.name} was rejected: {' '.join(prediction.rejections)}")
    log_use(model.card, sha256, "answered", prediction.predicted)
    image = radiograph.image
    versions = stability(model, image)
    padded = padding_sentence(image)
    remarks = (*reading_warnings(radiograph), *([padded] if padded else []))
    report = report_case(
        model.card,
        image,
        prediction,
        versions,
        explain(model, image, prediction.predicted),
        segmenter.mask(image) if segmenter else None,
        sha256,
        remarks,
        label,
        created,
    )
    files = {out: case_report_pdf(report)}
    if dicom is not None:
        files |= {dicom / name: content for name, content in case_report_dicom(report).items()}
    for path, content in files.items():
        write_bytes(path, content)
    return {
        "model_id": model.card.model_id,
        "path": str(file),
        "input_sha256": sha256,
        "verdict": headline(prediction),
        "predicted": prediction.predicted,
        "probabilities": dict(prediction.probabilities),
        "stability": asdict(versions),
        "remarks": remarks,
        "out": str(out),
        "dicom": [str(path) for path in files if path != out],
    }
