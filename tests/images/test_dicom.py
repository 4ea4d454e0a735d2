from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from covidxr.errors import ImageError
from covidxr.images.dicom_decoder import decode_pixels
from covidxr.images.reading import read_image, read_radiograph
from covidxr.prediction.loading import load_classifier

STORED = np.array(
    [[0, 100, 200, 300], [400, 500, 600, 700], [800, 900, 1000, 1100], [1200, 1300, 1400, 1500]]
)
RAMP = np.add.outer(np.arange(40), np.arange(60)) * 2


def dicom(stored: np.ndarray[Any, Any] = STORED, bits: int = 16, **tags: Any) -> bytes:
    """A DICOM file of grey values; a small pattern is repeated until it is 32 pixels wide, since smaller ones are refused."""
    if min(stored.shape[:2]) < 32:
        stored = np.tile(stored, (8, 8))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = (
        SecondaryCaptureImageStorage,
        "1.2.3",
        "CR",
    )
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    if stored.ndim == 3:
        dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = (
            3,
            0,
            "RGB",
        )
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = stored.astype(
        f"<{'i' if dataset.PixelRepresentation else 'u'}{bits // 8}"
    ).tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def corner(content: bytes) -> list[list[int]]:
    """The first 4 x 4 pixels of the picture."""
    return read_image(content, "x")[:4, :4].tolist()  # type: ignore[no-any-return]


def table(first: int, bits: int, values: list[int]) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), first, bits], values
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return item


@pytest.fixture(scope="module")
def files(database: Path) -> list[bytes]:
    folder = database.parent / "dicom"
    return [(folder / f"chest-cr-monochrome{n}.dcm").read_bytes() for n in (1, 2)]


@pytest.mark.data
def test_a_real_radiograph_in_monochrome_1_and_2(files: list[bytes]) -> None:
    one, two = (read_image(content, "x") for content in files)
    assert two.shape == (1024, 1024)
    # Both files hold the same stored values, so one is the negative of the other.
    assert np.array_equal(one, 255 - two)
    # The same picture written the other way round is the same picture, to the pixel.
    assert np.array_equal(
        read_image(dicom(255 - two, 8, PhotometricInterpretation="MONOCHROME1"), "x"), two
    )


def test_eight_bits_without_a_window_stay_as_they_are() -> None:
    assert np.array_equal(read_image(dicom(RAMP, 8), "x"), RAMP)
    assert np.array_equal(read_image(dicom(RAMP, 8, RescaleSlope=1, RescaleIntercept=0), "x"), RAMP)
    assert np.array_equal(
        read_image(dicom(255 - RAMP, 8, PhotometricInterpretation="MONOCHROME1"), "x"), RAMP
    )


def test_a_window_worked_out_by_hand() -> None:
    # PS3.3 C.11.2.1.2.1, centre 600.5, width 401: y = ((x - 600) / 400 + 0.5) * 255, so 400 is black, 800 white, and
    # 500, 600, 700 stand a quarter, a half and three quarters between: 63.75, 127.5 (to the even 128), 191.25.
    expected = [[0, 0, 0, 0], [0, 64, 128, 191], [255] * 4, [255] * 4]
    assert corner(dicom(WindowCenter=600.5, WindowWidth=401)) == expected
    assert (
        corner(dicom(WindowCenter=[600.5, 0], WindowWidth=[401, 9])) == expected
    )  # the first of several
    inverted = [[255 - v for v in row] for row in expected]
    inverted[1] = [255, 191, 128, 64]  # 1 - share is rounded, not 255 - value
    assert (
        corner(dicom(WindowCenter=600.5, WindowWidth=401, PhotometricInterpretation="MONOCHROME1"))
        == inverted
    )
    # Exact: y = (x - c) / w + 0.5, so 500 and 700 stand a quarter and three quarters between 400 and 800.
    assert corner(dicom(WindowCenter=600, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))[1] == [
        0,
        64,
        128,
        191,
    ]
    # Sigmoid: 1 / (1 + exp(-4 (x - c) / w)) is 1/2 at the centre and 1 / (1 + e) = 0.2689 a quarter of the width below.
    assert corner(dicom(WindowCenter=600, WindowWidth=400, VOILUTFunction="SIGMOID"))[1] == [
        30,
        69,
        128,
        186,
    ]


def test_the_rescale_comes_before_the_window() -> None:
    # Values 2 x - 800: 400 -> 0 is black, 800 -> 800 is white.
    content = dicom(RescaleSlope=2, RescaleIntercept=-800, WindowCenter=400.5, WindowWidth=801)
    assert corner(content)[1:3] == [[0, 64, 128, 191], [255] * 4]


def test_tables_are_followed_and_come_before_windows() -> None:
    # 8 bits of output for more than 256 values of input; below and above the table stand its ends.
    content = dicom(
        VOILUTSequence=[table(100, 8, [v // 5 for v in range(1001)])], WindowCenter=1, WindowWidth=1
    )
    assert corner(content) == [[0, 0, 20, 40], [60, 80, 100, 120], [140, 160, 180, 200], [200] * 4]
    ten = dicom(STORED // 100, VOILUTSequence=[table(0, 10, [v * 64 for v in range(16)])])
    assert corner(ten)[3] == [round(v * 64 / 1023 * 255) for v in range(12, 16)]
    # The modality's table first: it turns the values round, and the picture with them.
    turned = dicom(STORED // 100, ModalityLUTSequence=[table(0, 16, list(range(1500, -1, -100)))])
    assert corner(turned) == [[255 - v for v in row] for row in corner(dicom())]


def test_deep_pictures_are_spread_and_padding_has_no_say() -> None:
    assert corner(dicom()) == np.rint(STORED / 1500 * 255).astype(int).tolist()
    # Without the two extremes the spread runs from 100 to 1400; padding is black in either kind.
    inner = np.rint((STORED - 100) / 1300 * 255).clip(0, 255).astype(int)
    inner[0, 0] = inner[3, 3] = 0
    padded = STORED.copy()
    padded[0, 0] = padded[3, 3] = 4000
    assert corner(dicom(padded, PixelPaddingValue=4000)) == inner.tolist()
    assert (
        corner(dicom(padded, PixelPaddingValue=4095, PixelPaddingRangeLimit=3900)) == inner.tolist()
    )
    turned = corner(dicom(padded, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1"))
    assert (turned[0][:2], turned[3][2:]) == ([0, 255], [0, 0])
    signed = dicom(STORED - 1000, PixelRepresentation=1)
    assert corner(signed) == corner(dicom())


def test_colour_becomes_its_grey() -> None:
    colour = np.zeros((40, 40, 3), dtype=np.uint8)
    colour[..., 0] = 255
    assert (read_image(dicom(colour, 8), "x") == 76).all()  # ITU-R 601: 0.299 * 255


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (dicom(NumberOfFrames=2), "holds 2 frames, and one is allowed"),
        (dicom(STORED[:2, :2]), "16 x 16 pixels is too small; 32"),
        (dicom(Rows=20_000, Columns=20_000), "over the limit of 50,000,000"),
        (dicom(PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR are not opened"),
        (dicom(np.full((4, 4), 7), PixelPaddingValue=7), "every pixel has the padding value"),
        (dicom(RescaleSlope="1e999", RescaleIntercept=0), "values that are not numbers"),
        (dicom()[:-100], "damaged"),
        (b"\0" * 128 + b"DICM" + b"\0" * 99, "holds no picture"),
        (b"no preamble" * 99, "not a PNG, JPEG, TIFF or DICOM"),
    ],
    ids=["frames", "tiny", "huge", "palette", "padding", "nan", "cut", "empty", "other"],
)
def test_bad_files_are_refused_by_name(content: bytes, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        read_image(content, "scan.dcm")
    assert "scan.dcm" in str(caught.value)


def package_file(name: str) -> bytes:
    """One of the files that are installed with pydicom."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def test_every_transfer_syntax_gives_the_same_picture() -> None:
    plain = read_image(package_file("MR_small.dcm"), "x")
    assert plain.std() > 10
    for name in (
        "implicit",
        "bigendian",
        "RLE",
        "jpeg_ls_lossless",
        "jp2klossless",
    ):  # all lossless
        assert np.array_equal(read_image(package_file(f"MR_small_{name}.dcm"), name), plain)
    colours = read_image(package_file("SC_rgb_rle.dcm"), "x").astype(int)
    for name in (
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ):  # lossy
        assert np.abs(read_image(package_file(name), name) - colours).mean() < 2


@pytest.mark.parametrize(
    "name",
    [
        "JPGExtended.dcm",
        "693_J2KI.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "image_dfl.dcm",
        "ExplVR_BigEnd.dcm",
    ],
)
def test_what_the_standard_allows_is_decoded(name: str) -> None:
    radiograph = read_radiograph(package_file(name), name)
    assert radiograph.format == "DICOM"
    assert radiograph.image.std() > 1


def test_jpeg_of_12_bits_has_its_values() -> None:
    # The sum and the maximum of libjpeg-turbo's own decoding of this file.
    stored = decode_pixels(package_file("JPGExtended.dcm"), 1024 * 256, "x")
    assert (stored.shape, stored.dtype, int(stored.sum()), int(stored.max())) == (
        (1024, 256),
        np.uint16,
        3_767_007,
        264,
    )


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_encoded_by_pydicom_it_is_the_same_picture(syntax: UID) -> None:
    plain = dcmread(
        io.BytesIO(dicom(np.tile(STORED, (10, 12)) * 4, WindowCenter=2500, WindowWidth=3000))
    )
    whole = io.BytesIO()
    plain.save_as(whole)
    plain.compress(syntax)
    packed = io.BytesIO()
    plain.save_as(packed)
    assert np.array_equal(read_image(packed.getvalue(), "x"), read_image(whole.getvalue(), "x"))


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.1, 9),
    st.integers(-2000, 2000),
    st.floats(-3000, 9000),
    st.floats(2, 9000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_pydicom(
    seed: int, slope: float, intercept: int, centre: float, width: float, form: str, signed: bool
) -> None:
    low, high = (-2000, 2000) if signed else (0, 4000)
    stored = np.random.default_rng(seed).integers(low, high, (32, 32))
    tags = {"RescaleSlope": f"{slope:.6f}", "RescaleIntercept": intercept, "VOILUTFunction": form}
    tags |= {"WindowCenter": f"{centre:.4f}", "WindowWidth": f"{width:.4f}"}
    content = dicom(stored, PixelRepresentation=int(signed), **tags)
    dataset = dcmread(io.BytesIO(content))
    modality = apply_modality_lut(dataset.pixel_array, dataset)
    values = apply_voi_lut(modality, dataset)
    # pydicom's output spans what the rescaled values could be.
    ends = (-(2**15), 2**15 - 1) if signed else (0, 2**16 - 1)
    bottom, top = (
        float(dataset.RescaleSlope) * end + float(dataset.RescaleIntercept) for end in ends
    )
    expected = (values - bottom) / (top - bottom) * 255
    assert np.abs(read_image(content, "x") - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("tags", "refusal", "warning"),
    [
        ({"ViewPosition": "PA", "BodyPartExamined": "CHEST"}, "", ""),
        ({"Modality": "CT"}, "modality CT", ""),
        ({"ViewPosition": "LL"}, "view position LL", ""),
        ({"ViewPosition": "RL"}, "view position RL", ""),
        ({"BodyPartExamined": "HAND"}, "body part HAND", ""),
        ({"Modality": "SC"}, "", "says modality SC"),
        ({"Modality": ""}, "", "names no modality"),
        ({"SeriesDescription": "Chest lat."}, "", "described as lateral"),
        ({"SeriesDescription": "Chest PA and lat.", "ViewPosition": "PA"}, "", ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "", "secondary capture"),
    ],
)
def test_the_header_is_heard(tags: dict[str, str], refusal: str, warning: str) -> None:
    radiograph = read_radiograph(
        dicom(**({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"} | tags)), "x"
    )
    *found, burned_in = radiograph.warnings
    assert "burned into the picture" in burned_in
    assert len(radiograph.refusals) == bool(refusal)
    assert refusal in "".join(radiograph.refusals)
    assert len(found) == bool(warning)
    assert warning in "".join(found)


def test_burned_in_annotation_is_not_trusted() -> None:
    picture = Image.new("L", (300, 300), 90)
    ImageDraw.Draw(picture).text((20, 20), "DOE JANE 1961", fill=255)
    found = read_radiograph(dicom(np.asarray(picture), 8, BurnedInAnnotation="NO"), "x").warnings
    assert any("probably writing" in sentence for sentence in found)


def test_names_of_what_was_dropped_are_kept_and_never_a_value() -> None:
    content = dicom(PatientName="Doe^Jane", PatientID="4711", StudyDescription="4711 again")
    dataset = dcmread(io.BytesIO(content))
    dataset.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "Doe^Jane")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    radiograph = read_radiograph(buffer.getvalue(), "x")
    assert {one.name: one.kind for one in radiograph.dropped} == {
        "Media Storage SOP Instance UID": "Identifier", "SOP Class UID": "Identifier", "SOP Instance UID": "Identifier",
        "Modality": "Description", "Patient's Name": "Patient",
        "Study Description": "Description", "Patient ID": "Patient", "Private elements": "The maker's own",
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
        ("InstitutionName", "Hospital or machine"),
        ("DeviceSerialNumber", "Hospital or machine"),
        ("AccessionNumber", "Identifier"),
        ("StudyInstanceUID", "Identifier"),
        ("KVP", "Acquisition"),
        ("AdmissionID", "Identifier"),
        ("ReasonForTheRequestedProcedure", "Order or visit"),
        ("SeriesDescription", "Description"),
    ],
)
def test_what_was_dropped_is_told_by_kind(keyword: str, kind: str) -> None:
    value = "20200101" if keyword.endswith("Date") else "1.2.3" if keyword.endswith("UID") else "1"
    dropped = {
        one.name: one.kind for one in read_radiograph(dicom(**{keyword: value}), "x").dropped
    }
    assert dropped[dictionary_description(keyword)] == kind


def test_the_machine_that_sent_a_file_and_what_is_drawn_over_the_picture_are_among_them() -> None:
    dataset = dcmread(io.BytesIO(dicom()))
    dataset.file_meta.SourceApplicationEntityTitle = "ST_MARY"
    dataset.add_new(0x60003000, "OW", b"\0\0")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    found = {one.name: one.kind for one in read_radiograph(buffer.getvalue(), "x").dropped}
    assert found["Source Application Entity Title"] == "Hospital or machine"
    assert found["Overlay or curve drawn over the picture"] == "Description"
    assert "Elements that the standard does not know" not in found


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "covidxr.images.dicom.MAX_FILE_BYTES", 100_000
    )  # the file inflates to 262,144 pixels
    with pytest.raises(ImageError, match="inflates to more than the limit of 100,000"):
        read_image(package_file("image_dfl.dcm"), "x")


@pytest.mark.data
@pytest.mark.slow
def test_a_real_radiograph_written_either_way_has_one_prediction(
    files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from covidxr.prediction.worklist import score_worklist

    monkeypatch.delenv("COVIDXR_WEIGHTS", raising=False)
    two = read_image(files[1], "x")
    one = dicom(255 - two, 8, PhotometricInterpretation="MONOCHROME1")
    first, second = score_worklist(
        load_classifier("poster-resnet18-pretrained"), [("1", one), ("2", files[1])]
    )
    assert dict(first.probabilities) == pytest.approx(dict(second.probabilities), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("reportsi.dcm", r"\(SR\) holds no picture"),
        ("MR_truncated.dcm", "less than expected"),
        ("examples_ybr_color.dcm", "holds 30 frames"),
        ("SC_rgb_rle_16bit.dcm", "in colour of 16 bits"),
    ],
)
def test_files_that_are_no_radiograph_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        read_image(package_file(name), name)


def test_the_content_decides_and_not_the_suffix() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(buffer, format="PNG")
    assert np.array_equal(read_image(buffer.getvalue(), "scan.dcm"), RAMP)
    assert np.array_equal(read_image(dicom(RAMP, 8), "scan.png"), RAMP)
