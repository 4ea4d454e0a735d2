"""DICOM headers: reasons to reject an image, warnings, and the elements that are not read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from covidxr.images.metadata import UnreadElement

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

_RADIOGRAPHY = ("CR", "DX")
_PERHAPS = ("", "SC", "OT", "RG")
"""Missing, secondary capture, other, digitized radiograph: may be chest radiographs."""
_NOT_FRONTAL = ("LL", "RL", "LAT", "LATERAL", "LLO", "RLO", "RAO", "LAO", "RPO", "LPO")
_FRONTAL = ("PA", "AP")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NEEDED = {
    "FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID",
    "TransferSyntaxUID", "ImplementationClassUID", "ImplementationVersionName",
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter",
    "WindowWidth", "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
}  # fmt: skip
"""Keywords of the elements that decoding needs."""
_OVERLAYS = (*range(0x5000, 0x501F), *range(0x6000, 0x601F))
"""Groups of curves and overlays."""


def refusals(dataset: Dataset) -> tuple[str, ...]:
    """Return the reasons to reject an image by modality, view and body part, a sentence each."""
    found = []
    modality, view, part = (
        _word(dataset, name) for name in ("Modality", "ViewPosition", "BodyPartExamined")
    )
    if modality not in _RADIOGRAPHY + _PERHAPS:
        found.append(f"Modality {modality}: only radiographs (CR, DX) are supported.")
    if view in _NOT_FRONTAL:
        found.append(
            f"View position {view} (lateral or oblique): only frontal views (PA, AP) are supported."
        )
    if part and not re.search("CHEST|THORAX|LUNG", part):
        found.append(f"Body part {part}: only chest radiographs are supported.")
    return tuple(found)


def warnings(dataset: Dataset) -> tuple[str, ...]:
    """Return what a reader should know but is no reason to reject the image, a sentence each."""
    found = []
    modality, view = _word(dataset, "Modality"), _word(dataset, "ViewPosition")
    if modality in _PERHAPS:
        found.append(
            f"Modality {modality or 'missing'}, not CR or DX: possibly a screenshot or a scan; "
            "gray values may differ from the original."
        )
    elif _word(dataset, "SOPClassUID", 64) == _SECONDARY_CAPTURE:
        found.append("Secondary capture: gray values may differ from the original.")
    if dataset.get("SamplesPerPixel") == 3:
        found.append("Color image: converted to grayscale for analysis.")
    if view not in _FRONTAL + _NOT_FRONTAL and re.search(
        r"\b(LAT|LATERAL|LL|RL)\b", _word(dataset, "SeriesDescription", 64)
    ):
        found.append(
            "Series description suggests a lateral view: only frontal views are supported."
        )
    # BurnedInAnnotation is ignored: it is often NO although names are visible.
    found.append("Burned-in annotation status unknown: check for names and dates before sharing.")
    return tuple(found)


def dropped(dataset: Dataset) -> tuple[UnreadElement, ...]:
    """Return the elements of the header that decoding does not need, by their standard names.

    No value is read. A sequence counts as one element, as do all private elements together.
    """
    from pydicom.datadict import dictionary_description, dictionary_has_tag, keyword_for_tag

    found = {}  # keeps the order of the header
    # Iterating over a dataset itself would parse the values.
    for tag in [*dataset.file_meta.keys(), *dataset.keys()]:
        if tag.is_private:
            found[UnreadElement("Private elements", "Vendor-specific")] = True
        elif tag.group in _OVERLAYS:
            found[UnreadElement("Overlay or curve", "Description")] = True
        elif not dictionary_has_tag(tag):
            found[UnreadElement("Unknown elements", "Unknown")] = True
        elif (keyword := keyword_for_tag(tag)) not in _NEEDED:
            found[UnreadElement(dictionary_description(tag), _kind(tag, keyword))] = True
    return tuple(found)


def _kind(tag: BaseTag, keyword: str) -> str:
    """Category of an element, by its group, value representation and keyword (PS3.6)."""
    from pydicom.datadict import dictionary_VR

    vr = dictionary_VR(tag)
    if tag.group == 0x0010 or keyword.startswith("ReferencedPatient"):
        return "Patient"
    if vr == "PN" or re.search("Physician|Operator|Performer|Observer", keyword):
        return "Person"
    if vr in ("DA", "TM", "DT") or keyword.startswith("Timezone"):
        return "Date or time"
    if re.search(
        "Institution|Station|Manufacturer|Device|Software|Equipment|ApplicationEntity", keyword
    ):
        return "Institution or device"
    if vr == "UI" or re.search("ID$|AccessionNumber|^Referenced|^SourceImage", keyword):
        return "Identifier"
    return {
        0x0018: "Acquisition",
        0x0032: "Order or visit",
        0x0038: "Order or visit",
        0x0040: "Order or visit",
    }.get(tag.group, "Description")


def _word(dataset: Dataset, name: str, most: int = 16) -> str:
    """The value of an element in capitals, cut to the length of a code; empty if missing."""
    value = dataset.get(name)
    return " ".join(str("" if value is None else value).upper().split())[:most]
