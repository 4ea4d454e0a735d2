from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from covidxr.errors import ImageError
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


def test_burned_in_annotation_is_not_trusted() -> None:
    image = Image.new("L", (300, 300), 90)
    ImageDraw.Draw(image).text((20, 20), "DOE JANE 1961", fill=255)
    found = read_radiograph(dicom(np.asarray(image), 8, BurnedInAnnotation="NO"), "x").warnings
    assert any("burned-in text" in sentence for sentence in found)


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
