"""covidxr report, in-process."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfReader
from typer.testing import CliRunner

from covidxr.cli import app
from covidxr.errors import ConfigError, ImageError
from covidxr.prediction.cases import predict_files, sample_phantom
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.report import report_file

RUNNER = CliRunner()


@pytest.fixture
def picture(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    file = tmp_path / "Meier [bold]Anna[b] 肺.png"
    Image.fromarray(sample_phantom("COVID")).resize((300, 256)).save(file)
    return file


def report(*words: object) -> dict[str, Any]:
    result = RUNNER.invoke(
        app, ["report", "phantom-cnn", *map(str, words), "--json"], catch_exceptions=False
    )
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_the_report_says_what_the_command_says_and_not_the_file_name(
    picture: Path, tmp_path: Path
) -> None:
    found = report(picture, "--out", tmp_path / "new" / "report.pdf")
    (page,) = PdfReader(found["out"]).pages
    text = " ".join(page.extract_text().split())
    assert found["input_sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert found["input_sha256"] in text
    assert found["verdict"].replace("\u00a0", " ") in text
    assert "learned from synthetic phantoms" in text
    assert "The picture is not square" in text
    assert "Meier" not in text
    assert "Anna" not in text
    (predicted,) = predict_files(load_classifier("phantom-cnn"), [picture])
    assert found["probabilities"] == pytest.approx(predicted["probabilities"], abs=1e-6)
    report(picture, "--out", tmp_path / "named.pdf", "--label", "Patient 7")
    assert "Patient 7" in PdfReader(tmp_path / "named.pdf").pages[0].extract_text()


def test_people_get_a_sentence(picture: Path, tmp_path: Path) -> None:
    words = ["report", "phantom-cnn", str(picture), "--out", str(tmp_path / "a.pdf")]
    said = RUNNER.invoke(app, words, catch_exceptions=False, env={"COLUMNS": "300"}).stdout
    assert "not a medical device" in said


def test_no_file_is_a_sentence_and_leaves_none(picture: Path, tmp_path: Path) -> None:
    picture.write_bytes(b"text")
    for file, why in ((tmp_path / "absent.png", "there is no file"), (picture, "cannot read")):
        with pytest.raises(ImageError, match=why):
            report_file(load_classifier("phantom-cnn"), file, None, tmp_path / "a.pdf")
    assert not (tmp_path / "a.pdf").exists()


def test_dicom_files_are_written_beside_it_and_read_as_the_same_picture(
    picture: Path, tmp_path: Path
) -> None:
    found = report(picture, "--out", tmp_path / "a.pdf", "--dicom", tmp_path / "study")
    assert sorted(found["dicom"]) == sorted(str(file) for file in (tmp_path / "study").iterdir())
    assert len(found["dicom"]) == 3
    whole = b"".join(Path(file).read_bytes() for file in found["dicom"])
    assert found["input_sha256"].encode() in whole
    assert b"Meier" not in whole
    picture, *_ = (Path(file) for file in found["dicom"] if file.endswith("picture.dcm"))
    (again,) = predict_files(load_classifier("phantom-cnn"), [picture])
    assert again["probabilities"] == pytest.approx(found["probabilities"], abs=1e-6)


def test_without_the_extra_nothing_is_written(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covidxr.reports.dicom_report.writes_dicom", lambda: False)
    with pytest.raises(ConfigError, match="covidxr\\[dicom\\]"):
        report_file(
            load_classifier("phantom-cnn"),
            picture,
            None,
            tmp_path / "a.pdf",
            dicom=tmp_path / "study",
        )
    assert not (tmp_path / "a.pdf").exists()
