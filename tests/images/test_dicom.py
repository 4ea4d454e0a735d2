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
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
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
    """A DICOM file; patterns smaller than the minimum of 32 pixels are repeated."""
    if min(stored.shape[:2]) < 32:
        stored = np.tile(stored, (8, 8))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
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
    """The first 4 x 4 pixels."""
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
    # Inverted values in MONOCHROME1 are the same image, pixel by pixel.
    assert np.array_equal(
        read_image(dicom(255 - two, 8, PhotometricInterpretation="MONOCHROME1"), "x"), two
    )


def test_eight_bits_without_a_window_stay_as_they_are() -> None:
    assert np.array_equal(read_image(dicom(RAMP, 8), "x"), RAMP)
    assert np.array_equal(read_image(dicom(RAMP, 8, RescaleSlope=1, RescaleIntercept=0), "x"), RAMP)
    assert np.array_equal(
        read_image(dicom(255 - RAMP, 8, PhotometricInterpretation="MONOCHROME1"), "x"), RAMP
    )


def test_windows_against_values_computed_by_hand() -> None:
    # PS3.3 C.11.2.1.2.1, center 600.5, width 401: y = ((x - 600) / 400 + 0.5) * 255, so 400 is
    # black, 800 white, and 500, 600, 700 are at a quarter, a half and three quarters between:
    # 63.75, 127.5 (rounded to even: 128), 191.25.
    expected = [[0, 0, 0, 0], [0, 64, 128, 191], [255] * 4, [255] * 4]
    assert corner(dicom(WindowCenter=600.5, WindowWidth=401)) == expected
    # The first of several windows counts.
    assert corner(dicom(WindowCenter=[600.5, 0], WindowWidth=[401, 9])) == expected
    inverted = [[255 - v for v in row] for row in expected]
    inverted[1] = [255, 191, 128, 64]  # 1 - share is rounded, not 255 - value
    assert (
        corner(dicom(WindowCenter=600.5, WindowWidth=401, PhotometricInterpretation="MONOCHROME1"))
        == inverted
    )
    # Exact: y = (x - c) / w + 0.5, so 500 and 700 are at 1/4 and 3/4 between 400 and 800.
    assert corner(dicom(WindowCenter=600, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))[1] == [
        0,
        64,
        128,
        191,
    ]
    # Sigmoid: 1 / (1 + exp(-4 (x - c) / w)) is 1/2 at the center, and 1 / (1 + e) = 0.2689 a
    # quarter of the width below.
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


def test_luts_are_applied_and_precede_windows() -> None:
    # 8-bit output for more than 256 input values; the ends of the LUT apply beyond it.
    content = dicom(
        VOILUTSequence=[table(100, 8, [v // 5 for v in range(1001)])], WindowCenter=1, WindowWidth=1
    )
    assert corner(content) == [[0, 0, 20, 40], [60, 80, 100, 120], [140, 160, 180, 200], [200] * 4]
    ten = dicom(STORED // 100, VOILUTSequence=[table(0, 10, [v * 64 for v in range(16)])])
    assert corner(ten)[3] == [round(v * 64 / 1023 * 255) for v in range(12, 16)]
    # The modality LUT comes first: it inverts the values, and with them the image.
    inverted = dicom(STORED // 100, ModalityLUTSequence=[table(0, 16, list(range(1500, -1, -100)))])
    assert corner(inverted) == [[255 - v for v in row] for row in corner(dicom())]


def test_deep_images_are_scaled_without_their_padding() -> None:
    assert corner(dicom()) == np.rint(STORED / 1500 * 255).astype(int).tolist()
    # Without the two extremes the range is 100 to 1400; padding is black in both interpretations.
    inner = np.rint((STORED - 100) / 1300 * 255).clip(0, 255).astype(int)
    inner[0, 0] = inner[3, 3] = 0
    padded = STORED.copy()
    padded[0, 0] = padded[3, 3] = 4000
    assert corner(dicom(padded, PixelPaddingValue=4000)) == inner.tolist()
    assert (
        corner(dicom(padded, PixelPaddingValue=4095, PixelPaddingRangeLimit=3900)) == inner.tolist()
    )
    inverted = corner(
        dicom(padded, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1")
    )
    assert (inverted[0][:2], inverted[3][2:]) == ([0, 255], [0, 0])
    signed = dicom(STORED - 1000, PixelRepresentation=1)
    assert corner(signed) == corner(dicom())


def test_color_becomes_its_luminance() -> None:
    color = np.zeros((40, 40, 3), dtype=np.uint8)
    color[..., 0] = 255
    assert (read_image(dicom(color, 8), "x") == 76).all()  # ITU-R 601: 0.299 * 255


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (dicom(NumberOfFrames=2), "contains 2 frames, and one is allowed"),
        (dicom(STORED[:2, :2]), "16 x 16 pixels is too small; the short side needs at least 32"),
        (dicom(Rows=20_000, Columns=20_000), "exceed the limit of 50,000,000"),
        (
            dicom(PhotometricInterpretation="PALETTE COLOR"),
            "unsupported photometric interpretation PALETTE COLOR",
        ),
        (dicom(np.full((4, 4), 7), PixelPaddingValue=7), "every pixel is padding"),
        (dicom(RescaleSlope="1e999", RescaleIntercept=0), "values that are not numbers"),
        (dicom()[:-100], "damaged"),
        (b"\0" * 128 + b"DICM" + b"\0" * 99, "contains no image"),
        (b"no preamble" * 99, "not a valid PNG, JPEG, TIFF or DICOM"),
    ],
    ids=["frames", "tiny", "huge", "palette", "padding", "nan", "cut", "empty", "other"],
)
def test_errors_name_the_file(content: bytes, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        read_image(content, "scan.dcm")
    assert "scan.dcm" in str(caught.value)


def package_file(name: str) -> bytes:
    """One of the files that are installed with pydicom."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def test_transfer_syntaxes_give_the_same_image() -> None:
    plain = read_image(package_file("MR_small.dcm"), "x")
    assert plain.std() > 10
    for name in ("implicit", "bigendian", "RLE", "jpeg_ls_lossless", "jp2klossless"):
        assert np.array_equal(read_image(package_file(f"MR_small_{name}.dcm"), name), plain)
    colors = read_image(package_file("SC_rgb_rle.dcm"), "x").astype(int)
    # Lossy.
    for name in (
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ):
        assert np.abs(read_image(package_file(name), name) - colors).mean() < 2


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
def test_further_transfer_syntaxes_are_decoded(name: str) -> None:
    radiograph = read_radiograph(package_file(name), name)
    assert radiograph.format == "DICOM"
    assert radiograph.image.std() > 1


def test_12_bit_jpeg_is_decoded_correctly() -> None:
    # The sum and the maximum of libjpeg-turbo's own decoding of this file.
    stored = decode_pixels(package_file("JPGExtended.dcm"), 1024 * 256, "x")
    assert (stored.shape, stored.dtype, int(stored.sum()), int(stored.max())) == (
        (1024, 256),
        np.dtype(np.uint16),
        3_767_007,
        264,
    )


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compression_by_pydicom_keeps_the_image(syntax: UID) -> None:
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
def test_windows_agree_with_pydicom(
    seed: int, slope: float, intercept: int, center: float, width: float, form: str, signed: bool
) -> None:
    low, high = (-2000, 2000) if signed else (0, 4000)
    stored = np.random.default_rng(seed).integers(low, high, (32, 32))
    tags: dict[str, Any] = {"RescaleSlope": f"{slope:.6f}", "RescaleIntercept": intercept}
    tags |= {"WindowCenter": f"{center:.4f}", "WindowWidth": f"{width:.4f}", "VOILUTFunction": form}
    content = dicom(stored, PixelRepresentation=int(signed), **tags)
    dataset = dcmread(io.BytesIO(content))
    modality = apply_modality_lut(dataset.pixel_array, dataset)
    values = apply_voi_lut(modality, dataset)
    # The range of pydicom's output is that of all possible rescaled values.
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


def test_burned_in_annotation_is_not_trusted() -> None:
    image = Image.new("L", (300, 300), 90)
    ImageDraw.Draw(image).text((20, 20), "DOE JANE 1961", fill=255)
    found = read_radiograph(dicom(np.asarray(image), 8, BurnedInAnnotation="NO"), "x").warnings
    assert any("burned-in text" in sentence for sentence in found)


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


def test_a_deflate_bomb_is_rejected_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The file inflates to 262,144 pixels.
    monkeypatch.setattr("covidxr.images.dicom.MAX_FILE_BYTES", 100_000)
    with pytest.raises(ImageError, match="inflates to more than the limit of 100,000"):
        read_image(package_file("image_dfl.dcm"), "x")


@pytest.mark.data
@pytest.mark.slow
def test_monochrome_1_and_2_give_the_same_prediction(
    files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVIDXR_WEIGHTS", raising=False)
    two = read_image(files[1], "x")
    one = dicom(255 - two, 8, PhotometricInterpretation="MONOCHROME1")
    model = load_classifier("poster-resnet18-pretrained")
    first, second = (model.predict(read_image(content, "x")) for content in (one, files[1]))
    assert dict(first.probabilities) == pytest.approx(dict(second.probabilities), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("reportsi.dcm", r"\(SR\) contains no image"),
        ("MR_truncated.dcm", "less than expected"),
        ("examples_ybr_color.dcm", "contains 30 frames"),
        ("SC_rgb_rle_16bit.dcm", "color has 16 bits"),
    ],
)
def test_other_dicom_objects_are_rejected(name: str, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        read_image(package_file(name), name)


def test_the_content_determines_the_format() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(buffer, format="PNG")
    assert np.array_equal(read_image(buffer.getvalue(), "scan.dcm"), RAMP)
    assert np.array_equal(read_image(dicom(RAMP, 8), "scan.png"), RAMP)
