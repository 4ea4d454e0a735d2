"""What the header of a DICOM file says against judging its picture, and which of its elements are left behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from covidxr.images.metadata import LeftOut

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

_RADIOGRAPHY = ("CR", "DX")
_PERHAPS = ("", "SC", "OT", "RG")
"""Not said, secondary capture, other, scanned film: what these words are used for may be a chest radiograph."""
_NOT_FRONTAL = ("LL", "RL", "LAT", "LATERAL", "LLO", "RLO", "RAO", "LAO", "RPO", "LPO")
_FRONTAL = ("PA", "AP")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PICTURE_NEEDS = {
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth",
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
}  # fmt: skip


_DRAWN = (*range(0x5000, 0x501F), *range(0x6000, 0x601F))
"""Groups of curves and overlays."""
_FILE_NEEDS = {
    "FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID", "TransferSyntaxUID",
    "ImplementationClassUID", "ImplementationVersionName",
}  # fmt: skip


def refusals(dataset: Dataset) -> tuple[str, ...]:
    """Return the reasons in the header why no model may judge this picture: its modality, its view, its body part."""
    found = []
    modality, view, part = (
        _word(dataset, name) for name in ("Modality", "ViewPosition", "BodyPartExamined")
    )
    if modality not in _RADIOGRAPHY + _PERHAPS:
        found.append(f"The header says modality {modality}; only radiographs (CR, DX) are judged.")
    if view in _NOT_FRONTAL:
        found.append(
            f"The header says view position {view}, which is lateral or oblique; only frontal views (PA, AP) are judged."
        )
    if part and not re.search("CHEST|THORAX|LUNG", part):
        found.append(f"The header says body part {part}; only the chest is judged.")
    return tuple(found)


def warnings(dataset: Dataset) -> tuple[str, ...]:
    """Return what in the header a reader should know of, short of a refusal."""
    found = []
    modality, view = _word(dataset, "Modality"), _word(dataset, "ViewPosition")
    if modality in _PERHAPS:
        said = f"says modality {modality}" if modality else "names no modality"
        found.append(
            f"The header {said}, not CR or DX: the picture may be a screenshot or a scan, and its greys altered."
        )
    elif _word(dataset, "SOPClassUID", 64) == _SECONDARY_CAPTURE:
        found.append(
            "The file is a secondary capture, not the detector's own picture: its greys may have been altered."
        )
    if dataset.get("SamplesPerPixel") == 3:
        found.append(
            "The picture is stored in colour, which radiographs are not; its grey is judged."
        )
    if view not in _FRONTAL + _NOT_FRONTAL and re.search(
        r"\b(LAT|LATERAL|LL|RL)\b", _word(dataset, "SeriesDescription", 64)
    ):
        found.append("The series is described as lateral; only frontal views are judged rightly.")
    # BurnedInAnnotation is not asked: it often says NO over names in plain sight.
    found.append(
        "The header cannot tell whether names or dates are burned into the picture; look before you share it."
    )
    return tuple(found)


def dropped(dataset: Dataset) -> tuple[LeftOut, ...]:
    """Return the header's elements that the picture does not need, by the standard's names; their values are kept nowhere.

    Sequences count as one, private elements as one.
    """
    from pydicom.datadict import dictionary_description, dictionary_has_tag, keyword_for_tag

    found = {}  # a set in the header's order
    meta = [tag for tag in dataset.file_meta.keys() if keyword_for_tag(tag) not in _FILE_NEEDS]
    for tag in [*meta, *dataset.keys()]:  # values are not even parsed
        if tag.is_private:
            found[LeftOut("Private elements", "The maker's own")] = True
        elif tag.group in _DRAWN:
            found[LeftOut("Overlay or curve drawn over the picture", "Description")] = True
        elif not dictionary_has_tag(tag):
            found[LeftOut("Elements that the standard does not know", "Unknown")] = True
        elif (keyword := keyword_for_tag(tag)) not in _PICTURE_NEEDS:
            found[LeftOut(dictionary_description(tag), _kind(tag, keyword))] = True
    return tuple(found)


def _kind(tag: BaseTag, keyword: str) -> str:
    """What an element tells, in a word: by its group, its type, its keyword (PS3.6)."""
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
        return "Hospital or machine"
    if vr == "UI" or re.search("ID$|AccessionNumber|^Referenced|^SourceImage", keyword):
        return "Identifier"
    return {
        0x0018: "Acquisition",
        0x0032: "Order or visit",
        0x0038: "Order or visit",
        0x0040: "Order or visit",
    }.get(tag.group, "Description")


def _word(dataset: Dataset, name: str, most: int = 16) -> str:
    """The value of an element in capitals, no longer than the standard allows codes to be; empty where there is none."""
    value = dataset.get(name)
    return " ".join(str("" if value is None else value).upper().split())[:most]
