"""Case report as DICOM: the analyzed image, a structured report and the PDF page."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import covidxr
from covidxr.errors import ConfigError
from covidxr.figures import fit_screen
from covidxr.records import RESEARCH_ONLY, display_name
from covidxr.reports.sentences import (
    headline,
    input_check_sentence,
    set_sentence,
    stability_sentence,
)

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept
    from pydicom import Dataset

    from covidxr.reports.case_report import CaseReport

PICTURE, FINDINGS, PAGE = "picture.dcm", "findings.dcm", "report.dcm"
_SCHEME = "99COVIDXR"
_UTF8 = "ISO_IR 192"
_LO = 64
"""Maximum length of the value representation LO."""


def writes_dicom() -> bool:
    """Whether highdicom, an optional dependency, is installed."""
    return importlib.util.find_spec("highdicom") is not None


def case_report_dicom(report: CaseReport) -> dict[str, bytes]:
    """Return the DICOM files of a case, by file name.

    The analyzed image: a Secondary Capture (PS3.3 A.8), 8 bits, reduced to screen size, since a
    structured report needs evidence. The report: a Comprehensive SR (PS3.3 A.35.3) by template
    1500 (PS3.16), with the model as device observer and algorithm and the probabilities as numbers
    without unit; COMPLETE, PRELIMINARY, UNVERIFIED. The page of `case_report_pdf`: an Encapsulated
    PDF (PS3.3 A.45.1), UNVERIFIED, the only file that contains the label.

    They form a new study with new UIDs and RESEARCH as content qualification. Patient name, ID,
    birth date and sex are empty; only its sha256 refers to the input file. BurnedInAnnotation is
    YES for image and page, since nobody has checked.

    Raises:
        ConfigError: If highdicom is not installed.
    """
    if not writes_dicom():
        raise ConfigError(
            "highdicom is not installed, so DICOM files cannot be written: "
            'pip install "covidxr[dicom]" and try again'
        )
    study = _new_uid()
    image = _image(report, study)
    files = {PICTURE: image, FINDINGS: _findings(report, image), PAGE: _page(report, image)}
    return {name: _bytes(dataset, report.created) for name, dataset in files.items()}


def _image(report: CaseReport, study: str) -> Dataset:
    from highdicom.sc import SCImage

    dataset = SCImage(
        fit_screen(report.image),
        "MONOCHROME2",
        8,
        "PATIENT",
        patient_orientation=("L", "F"),
        study_instance_uid=study,
        series_number=1,
        **_common(report, "Analyzed image"),
    )
    # The sides are unknown. The attribute may be empty, but highdicom requires a value.
    dataset.PatientOrientation = []
    dataset.BodyPartExamined = "CHEST"
    dataset.BurnedInAnnotation = "YES"
    return dataset


def _findings(report: CaseReport, image: Dataset) -> Dataset:
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    card = report.card
    device = sr.DeviceObserverIdentifyingAttributes(
        # The same model is the same device.
        uid=generate_uid(entropy_srcs=[card.weights_sha256]),
        name="covidxr",
        manufacturer_name="covidxr",
        model_name=card.model_id,
        serial_number=card.weights_sha256,
    )
    algorithm = sr.AlgorithmIdentification(
        card.model_id,
        f"covidxr {covidxr.__version__}",
        [
            f"network: {report.network}",
            f"weights sha256: {card.weights_sha256}",
            f"temperature: {card.temperature:.4f}",
        ],
        codes.cid7162.ArtificialIntelligence,
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(_new_uid(), "Calibrated class probabilities"),
        algorithm_id=algorithm,
        measurements=[
            sr.Measurement(
                _concept(f"Probability of {display_name(name)}"), round(p, 6), codes.UCUM.NoUnits
            )
            for name, p in report.prediction.probabilities.items()
        ],
        source_images=[sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)],
    )
    content = sr.MeasurementReport(
        sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device)),
        codes.SCT.ChestImaging,
        [group],
        referenced_images=[image],
    )
    found = set_sentence(card, report.prediction)
    texts = [
        (codes.DCM.Comment, f"{RESEARCH_ONLY} Automatically generated, unverified."),
        (_concept("Prediction"), headline(report.prediction)),
        *([(_concept("Prediction set"), found[0])] if found else []),
        (_concept("Input check"), input_check_sentence(card, report.prediction)[0]),
        (_concept("Stability"), stability_sentence(report.stability)),
        *((_concept("Remark"), remark) for remark in report.remarks),
        (_concept("sha256 of the input file"), report.input_sha256),
    ]
    # The template is extensible: PS3.16 TID 1500.
    content[0].ContentSequence.extend(
        sr.TextContentItem(name, _encodable(text), "CONTAINS") for name, text in texts
    )
    common = _common(report, "Structured report")
    return sr.ComprehensiveSR([image], content, series_number=2, is_complete=True, **common)


def _page(report: CaseReport, image: Dataset) -> Dataset:
    from highdicom.base import SOPClass
    from pydicom import Dataset
    from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

    from covidxr.reports.case_report import case_report_pdf

    pdf, source = case_report_pdf(report), Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = (
        image.SOPClassUID,
        image.SOPInstanceUID,
    )
    dataset = SOPClass(
        study_instance_uid=image.StudyInstanceUID,
        series_number=3,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **_common(report, "Case report"),
    )
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.AcquisitionDateTime = None
    dataset.SourceInstanceSequence = [source]
    dataset.DocumentTitle = f"Case report. {RESEARCH_ONLY}"
    dataset.ConceptNameCodeSequence = []
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf
    return dataset


def _common(report: CaseReport, series: str) -> dict[str, Any]:
    """Attributes of all three files."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return {
        "series_instance_uid": _new_uid(),
        "sop_instance_uid": _new_uid(),
        "instance_number": 1,
        "series_description": series,
        "manufacturer": "covidxr",
        "manufacturer_model_name": report.card.model_id[:_LO],
        "device_serial_number": report.card.weights_sha256,
        "software_versions": f"covidxr {covidxr.__version__}",
        "content_qualification": "RESEARCH",
        "coding_schemes": [
            CodingSchemeIdentificationItem(_SCHEME, "covidxr", responsible_organization="covidxr")
        ],
        "specific_character_set": _UTF8,
    }


def _concept(meaning: str) -> CodedConcept:
    """A private code, hashed from its meaning, for want of a standard code with that meaning."""
    from highdicom.sr import CodedConcept

    # A backslash would separate two values.
    line = " ".join(_encodable(meaning).replace("\\", "/").split())
    return CodedConcept(hashlib.sha256(line.encode()).hexdigest()[:16], _SCHEME, line[:_LO])


def _encodable(text: str) -> str:
    """The text without lone surrogates, which a card's JSON may contain but UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def _new_uid() -> str:
    from pydicom.uid import generate_uid

    # From a random UUID.
    return generate_uid(None)


def _bytes(dataset: Dataset, created: datetime) -> bytes:
    """The dataset as a file, dated in UTC."""
    moment = created.astimezone(UTC)
    date, time = f"{moment:%Y%m%d}", f"{moment:%H%M%S}"
    dataset.TimezoneOffsetFromUTC = "+0000"
    for name in ("Study", "Content", "InstanceCreation"):
        setattr(dataset, f"{name}Date", date)
        setattr(dataset, f"{name}Time", time)
    if "DateOfSecondaryCapture" in dataset:
        dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = date, time
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()
