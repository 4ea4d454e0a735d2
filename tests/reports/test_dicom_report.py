"""DICOM case reports, read back by pydicom and checked against the tables of the standard."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ComprehensiveSRStorage, EncapsulatedPDFStorage, SecondaryCaptureImageStorage
from pypdf import PdfReader

from covidxr.errors import ConfigError
from covidxr.images.reading import read_radiograph
from covidxr.records import RESEARCH_ONLY, CasePrediction
from covidxr.reports.case_report import CaseReport
from covidxr.reports.dicom_report import FINDINGS, PAGE, PICTURE, case_report_dicom
from tests.reports.test_case_report import SHA256, case


def written(report: CaseReport) -> dict[str, Dataset]:
    return {
        name: dcmread(io.BytesIO(content)) for name, content in case_report_dicom(report).items()
    }


def items(dataset: Dataset) -> Iterator[Dataset]:
    """All items of a content tree."""
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items(item)


def texts(dataset: Dataset, scheme: str = "99COVIDXR") -> list[tuple[str, str]]:
    """Name and text of the text items."""
    named = [
        (item.ConceptNameCodeSequence[0], item)
        for item in items(dataset)
        if item.ValueType == "TEXT"
    ]
    return [
        (name.CodeMeaning, str(item.TextValue))
        for name, item in named
        if name.CodingSchemeDesignator == scheme
    ]


def numbers(dataset: Dataset) -> list[tuple[str, float, str, str]]:
    """Name, value, unit scheme and unit of the measurements; each name has its own code."""
    found, names = [], set()
    for item in items(dataset):
        if (
            item.ValueType == "NUM"
            and (name := item.ConceptNameCodeSequence[0]).CodingSchemeDesignator == "99COVIDXR"
        ):
            unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
            value = float(item.MeasuredValueSequence[0].NumericValue)
            found.append((name.CodeMeaning, value, unit.CodingSchemeDesignator, unit.CodeValue))
            names.add(name.CodeValue)
    assert len(names) == len(found)
    return found


@pytest.fixture(scope="module")
def report() -> CaseReport:
    # An odd number of pixels.
    image = np.random.default_rng(0).integers(0, 256, (97, 95), dtype=np.uint8)
    return replace(
        case(), image=image, remarks=("The view is not known: ümlaut, 肺.",), label="Meier, Anna"
    )


@pytest.fixture(scope="module")
def files(report: CaseReport) -> dict[str, Dataset]:
    return written(report)


def test_the_report_contains_the_prediction_and_is_unverified(
    files: dict[str, Dataset], report: CaseReport
) -> None:
    found = files[FINDINGS]
    assert found.SOPClassUID == ComprehensiveSRStorage
    assert (found.CompletionFlag, found.VerificationFlag, found.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert "VerifyingObserverSequence" not in found
    assert found.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert numbers(found) == [
        ("Probability of Normal", 0.2031, "UCUM", "1"),
        ("Probability of COVID-19", 0.7449, "UCUM", "1"),
        ("Probability of Viral pneumonia", 0.0488, "UCUM", "1"),
        ("Probability of Lung opacity", 0.0032, "UCUM", "1"),
    ]
    assert texts(found) == [
        ("Prediction", "COVID-19 (74%) favored over Normal (20%)"),
        ("Prediction set", "90% prediction set: empty (the model abstains)"),
        ("Input check", "Input check passed (in distribution)"),
        ("Stability", "Stable under horizontal flip and ±5° rotation (67% to 74%)"),
        ("Remark", "The view is not known: ümlaut, 肺."),
        ("sha256 of the input file", SHA256),
    ]
    standard = dict(texts(found, "DCM"))
    assert standard["Comment"] == f"{RESEARCH_ONLY} Automatically generated, unverified."
    assert (
        standard["Device Observer Model Name"] == standard["Algorithm Name"] == "covidxr-resnet18"
    )
    assert standard["Device Observer Serial Number"] == report.card.weights_sha256
    # Equal weights are the same device in every report.
    uids = [
        next(item.UID for item in items(one) if item.ValueType == "UIDREF")
        for one in (found, written(case())[FINDINGS])
    ]
    assert uids[0] == uids[1]


def test_the_files_form_a_new_study(files: dict[str, Dataset]) -> None:
    image, found, page = files[PICTURE], files[FINDINGS], files[PAGE]
    assert len({one.StudyInstanceUID for one in files.values()}) == 1
    assert (
        len(
            {one.SeriesInstanceUID for one in files.values()}
            | {one.SOPInstanceUID for one in files.values()}
        )
        == 6
    )
    own = image.SOPInstanceUID
    assert {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in items(found)
        if item.ValueType == "IMAGE"
    } == {own}
    evidence = (
        found.CurrentRequestedProcedureEvidenceSequence[0]
        .ReferencedSeriesSequence[0]
        .ReferencedSOPSequence
    )
    assert [one.ReferencedSOPInstanceUID for one in evidence] == [own]
    assert page.SourceInstanceSequence[0].ReferencedSOPInstanceUID == own
    assert written(case())[PICTURE].StudyInstanceUID != image.StudyInstanceUID


def test_image_and_page_are_stored_unchanged(files: dict[str, Dataset], report: CaseReport) -> None:
    image, page = files[PICTURE], files[PAGE]
    assert (image.SOPClassUID, page.SOPClassUID) == (
        SecondaryCaptureImageStorage,
        EncapsulatedPDFStorage,
    )
    assert np.array_equal(image.pixel_array, report.image)
    content = case_report_dicom(report)[PICTURE]
    assert np.array_equal(read_radiograph(content, PICTURE).image, report.image)
    pdf = page.EncapsulatedDocument[: page.EncapsulatedDocumentLength]
    (text,) = (one.extract_text() for one in PdfReader(io.BytesIO(pdf)).pages)
    assert SHA256 in text
    assert page.VerificationFlag == "UNVERIFIED"
    assert page.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_no_patient_is_named_and_the_label_is_only_on_the_page(
    files: dict[str, Dataset],
) -> None:
    for name, one in files.items():
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "ReferringPhysicianName",
        ):
            assert str(one[keyword].value) == "", (name, keyword)
        values = [
            str(element.value)
            for element in one.iterall()
            if element.keyword != "EncapsulatedDocument"
        ]
        assert not any("Meier" in text for text in values)
        assert (one.ContentQualification, one.StudyDate, one.ContentTime) == (
            "RESEARCH",
            "20261123",
            "093000",
        )


def test_required_attributes_are_present(files: dict[str, Dataset]) -> None:
    from highdicom._standard_utils import (
        get_iod_module_map,
        get_module_attribute_map,
        get_sop_class_iod_map,
    )

    checked = 0
    for name, one in files.items():
        for module in get_iod_module_map()[get_sop_class_iod_map()[one.SOPClassUID]]:
            # The required attributes of a content item depend on its type.
            if module["usage"] != "M" or module["key"] == "sr-document-content":
                continue
            for attribute in get_module_attribute_map()[module["key"]]:
                if attribute["path"] or attribute["type"] not in ("1", "2"):
                    continue
                checked += 1
                assert attribute["keyword"] in one, (name, attribute)
                assert attribute["type"] == "2" or one[attribute["keyword"]].value not in (
                    "",
                    None,
                ), (name, attribute)
    assert checked > 60


@pytest.mark.parametrize("name", ["a\\b", "W" * 60, "\ud800", "*[b]*^=\n"])
def test_any_class_name_can_be_written(name: str) -> None:
    report = case()
    classes = {name + "A": 0.6, name + "B": 0.3, "C": 0.1}
    report = replace(
        report,
        card=replace(report.card, prediction_sets=None),
        prediction=CasePrediction("m", classes),
    )
    found = written(report)[FINDINGS]
    assert [value for _, value, *_ in numbers(found)] == [0.6, 0.3, 0.1]
    assert all(isinstance(one, str) for one, *_ in numbers(found)), "one name became two values"


def test_without_highdicom_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r'highdicom is not installed.*pip install "covidxr\[dicom\]"'
    ):
        case_report_dicom(case())


def test_large_images_are_reduced() -> None:
    # DICOM stores the number of rows in 16 bits.
    tall = replace(case(), image=np.zeros((70_000, 300), dtype=np.uint8))
    assert written(tall)[PICTURE].Rows < 2**16
