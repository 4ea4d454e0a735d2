"""The DICOM files of a case: read back by pydicom, held against the standard's tables as highdicom ships them."""

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
    """Name and text of the items that say something in words."""
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
    """Name, value and unit, with its scheme, of the measurements; no two names have one code."""
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
    image = np.random.default_rng(0).integers(
        0, 256, (97, 95), dtype=np.uint8
    )  # of an odd number of pixels
    return replace(
        case(), image=image, remarks=("The view is not known: ümlaut, 肺.",), label="Meier, Anna"
    )


@pytest.fixture(scope="module")
def files(report: CaseReport) -> dict[str, Dataset]:
    return written(report)


def test_the_report_holds_the_answer_and_is_verified_by_nobody(
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
        ("Probability of COVID", 0.7449, "UCUM", "1"),
        ("Probability of Viral Pneumonia", 0.0488, "UCUM", "1"),
        ("Probability of Lung opacity", 0.0032, "UCUM", "1"),
    ]
    assert texts(found) == [
        ("Verdict of the model", "Probably COVID (74\u00a0%), but Normal (20\u00a0%) is possible"),
        ("Prediction set", "At 90 % coverage: no answer"),
        (
            "Verdict of the gate",
            "The model may judge this picture: it looks like those that it learned from",
        ),
        ("Stability", "Mirrored and turned by 5°, the picture gets the same answer (67 % to 74 %)"),
        ("Remark", "The view is not known: ümlaut, 肺."),
        ("sha256 of the input file", SHA256),
    ]
    standard = dict(texts(found, "DCM"))
    assert RESEARCH_ONLY in standard["Comment"]
    assert (
        standard["Device Observer Model Name"] == standard["Algorithm Name"] == "covidxr-resnet18"
    )
    assert standard["Device Observer Serial Number"] == report.card.weights_sha256
    # Equal weights are the same device, in whichever report.
    uids = [
        next(item.UID for item in items(one) if item.ValueType == "UIDREF")
        for one in (found, written(case())[FINDINGS])
    ]
    assert uids[0] == uids[1]


def test_all_hang_together_in_a_study_of_their_own(files: dict[str, Dataset]) -> None:
    picture, found, page = files[PICTURE], files[FINDINGS], files[PAGE]
    assert len({one.StudyInstanceUID for one in files.values()}) == 1
    assert (
        len(
            {one.SeriesInstanceUID for one in files.values()}
            | {one.SOPInstanceUID for one in files.values()}
        )
        == 6
    )
    own = picture.SOPInstanceUID
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
    assert written(case())[PICTURE].StudyInstanceUID != picture.StudyInstanceUID


def test_the_picture_and_the_page_come_back_as_they_went_in(
    files: dict[str, Dataset], report: CaseReport
) -> None:
    picture, page = files[PICTURE], files[PAGE]
    assert (picture.SOPClassUID, page.SOPClassUID) == (
        SecondaryCaptureImageStorage,
        EncapsulatedPDFStorage,
    )
    assert np.array_equal(picture.pixel_array, report.image)
    content = case_report_dicom(report)[PICTURE]
    assert np.array_equal(read_radiograph(content, PICTURE).image, report.image)
    pdf = page.EncapsulatedDocument[: page.EncapsulatedDocumentLength]
    (text,) = (one.extract_text() for one in PdfReader(io.BytesIO(pdf)).pages)
    assert SHA256 in text
    assert page.VerificationFlag == "UNVERIFIED"
    assert page.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_no_patient_is_named_and_the_label_stands_on_the_page_alone(
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
        said = [
            str(element.value)
            for element in one.iterall()
            if element.keyword != "EncapsulatedDocument"
        ]
        assert not any("Meier" in text for text in said)
        assert (one.ContentQualification, one.StudyDate, one.ContentTime) == (
            "RESEARCH",
            "20261123",
            "093000",
        )


def test_nothing_that_the_standard_requires_is_missing(files: dict[str, Dataset]) -> None:
    from highdicom._standard_utils import (
        get_iod_module_map,
        get_module_attribute_map,
        get_sop_class_iod_map,
    )

    checked = 0
    for name, one in files.items():
        for module in get_iod_module_map()[get_sop_class_iod_map()[one.SOPClassUID]]:
            # What a content item needs depends on its type.
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
def test_no_name_of_a_class_breaks_it(name: str) -> None:
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


def test_without_the_extra_it_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r'highdicom is not installed.*pip install "covidxr\[dicom\]"'
    ):
        case_report_dicom(case())


def test_a_large_picture_is_reduced() -> None:
    tall = replace(
        case(), image=np.zeros((70_000, 300), dtype=np.uint8)
    )  # DICOM counts rows in 16 bits
    assert written(tall)[PICTURE].Rows < 2**16
