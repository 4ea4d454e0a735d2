"""The report of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from covidxr.errors import ConfigError, ImageError
from covidxr.prediction.cases import sample_phantom
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.report import report_file


@pytest.fixture
def image(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    file = tmp_path / "Meier [bold]Anna[b] 肺.png"
    Image.fromarray(sample_phantom("COVID")).resize((300, 256)).save(file)
    return file


def test_an_unreadable_file_is_an_error_and_writes_nothing(image: Path, tmp_path: Path) -> None:
    image.write_bytes(b"text")
    for file, why in ((tmp_path / "absent.png", "there is no file"), (image, "cannot read")):
        with pytest.raises(ImageError, match=why):
            report_file(load_classifier("phantom-cnn"), file, None, tmp_path / "a.pdf")
    assert not (tmp_path / "a.pdf").exists()


def test_without_highdicom_nothing_is_written(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covidxr.reports.dicom_report.writes_dicom", lambda: False)
    with pytest.raises(ConfigError, match="covidxr\\[dicom\\]"):
        report_file(
            load_classifier("phantom-cnn"),
            image,
            None,
            tmp_path / "a.pdf",
            dicom=tmp_path / "study",
        )
    assert not (tmp_path / "a.pdf").exists()
