"""DICOM headers: rejections, warnings, and elements that are not read."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_description

from covidxr.images.reading import read_radiograph
from tests.images.test_dicom import dicom


@pytest.mark.parametrize(
    ("tags", "refusal", "warning"),
    [
        ({"ViewPosition": "PA", "BodyPartExamined": "CHEST"}, "", ""),
        ({"Modality": "CT"}, "Modality CT", ""),
        ({"ViewPosition": "LL"}, "View position LL", ""),
        ({"ViewPosition": "RL"}, "View position RL", ""),
        ({"BodyPartExamined": "HAND"}, "Body part HAND", ""),
        ({"Modality": "SC"}, "", "Modality SC, not CR or DX"),
        ({"Modality": ""}, "", "Modality missing"),
        ({"SeriesDescription": "Chest lat."}, "", "suggests a lateral view"),
        ({"SeriesDescription": "Chest PA and lat.", "ViewPosition": "PA"}, "", ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "", "Secondary capture"),
    ],
)
def test_the_header_can_reject_an_image_or_add_a_warning(
    tags: dict[str, Any], refusal: str, warning: str
) -> None:
    radiograph = read_radiograph(
        dicom(**({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"} | tags)), "x"
    )
    *found, burned_in = radiograph.warnings
    assert "Burned-in annotation status unknown" in burned_in
    assert len(radiograph.rejections) == bool(refusal)
    assert refusal in "".join(radiograph.rejections)
    assert len(found) == bool(warning)
    assert warning in "".join(found)


def test_names_of_dropped_elements_are_listed_and_values_are_not_kept() -> None:
    content = dicom(PatientName="Doe^Jane", PatientID="4711", StudyDescription="4711 again")
    dataset = dcmread(io.BytesIO(content))
    dataset.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "Doe^Jane")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    radiograph = read_radiograph(buffer.getvalue(), "x")
    assert {one.name: one.kind for one in radiograph.dropped} == {
        "Media Storage SOP Instance UID": "Identifier",
        "SOP Class UID": "Identifier", "SOP Instance UID": "Identifier",
        "Modality": "Description", "Study Description": "Description",
        "Patient's Name": "Patient", "Patient ID": "Patient",
        "Private elements": "Vendor-specific",
    }  # fmt: skip
    assert not any(word in repr(radiograph) for word in ("Doe", "Jane", "4711"))
    assert (radiograph.format, radiograph.bits) == ("DICOM", 16)


@pytest.mark.parametrize(
    ("keyword", "kind"),
    [
        ("PatientBirthDate", "Patient"),
        ("ReferringPhysicianName", "Person"),
        ("OperatorsName", "Person"),
        ("StudyDate", "Date or time"),
        ("TimezoneOffsetFromUTC", "Date or time"),
        ("InstitutionName", "Institution or device"),
        ("DeviceSerialNumber", "Institution or device"),
        ("AccessionNumber", "Identifier"),
        ("StudyInstanceUID", "Identifier"),
        ("KVP", "Acquisition"),
        ("AdmissionID", "Identifier"),
        ("ReasonForTheRequestedProcedure", "Order or visit"),
        ("SeriesDescription", "Description"),
    ],
)
def test_dropped_elements_have_a_category(keyword: str, kind: str) -> None:
    value = "20200101" if keyword.endswith("Date") else "1.2.3" if keyword.endswith("UID") else "1"
    tags: dict[str, Any] = {keyword: value}
    dropped = {one.name: one.kind for one in read_radiograph(dicom(**tags), "x").dropped}
    assert dropped[dictionary_description(keyword)] == kind


def test_sending_device_and_overlays_are_listed() -> None:
    dataset = dcmread(io.BytesIO(dicom()))
    dataset.file_meta.SourceApplicationEntityTitle = "ST_MARY"
    dataset.add_new(0x60003000, "OW", b"\0\0")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    found = {one.name: one.kind for one in read_radiograph(buffer.getvalue(), "x").dropped}
    assert found["Source Application Entity Title"] == "Institution or device"
    assert found["Overlay or curve"] == "Description"
    assert "Unknown elements" not in found
