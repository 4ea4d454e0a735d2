"""The command report, in-process."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread
from pypdf import PdfReader
from typer.testing import CliRunner

from covidxr.cli import app
from covidxr.prediction.cases import predict_files, sample_phantom
from covidxr.prediction.loading import load_classifier
from covidxr.records import RESEARCH_ONLY

RUNNER = CliRunner()


@pytest.fixture
def image(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    file = tmp_path / "Meier [bold]Anna[b] 肺.png"
    Image.fromarray(sample_phantom("COVID")).resize((300, 256)).save(file)
    return file


def report(*words: object) -> dict[str, Any]:
    result = RUNNER.invoke(
        app, ["report", "phantom-cnn", *map(str, words), "--json"], catch_exceptions=False
    )
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_the_report_has_the_result_of_the_command_but_not_the_file_name(
    image: Path, tmp_path: Path
) -> None:
    found = report(image, "--out", tmp_path / "new" / "report.pdf")
    (page,) = PdfReader(found["out"]).pages
    text = " ".join(page.extract_text().split())
    assert found["input_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert found["input_sha256"] in text
    assert found["verdict"].replace("\u00a0", " ") in text
    assert "trained on synthetic phantoms" in text
    assert "The image is not square" in text
    assert "Meier" not in text
    assert "Anna" not in text
    (predicted,) = predict_files(load_classifier("phantom-cnn"), [image])
    assert found["probabilities"] == pytest.approx(predicted["probabilities"], abs=1e-6)
    report(image, "--out", tmp_path / "named.pdf", "--label", "Patient 7")
    assert "Patient 7" in PdfReader(tmp_path / "named.pdf").pages[0].extract_text()


def test_the_text_output_has_the_disclaimer(image: Path, tmp_path: Path) -> None:
    words = ["report", "phantom-cnn", str(image), "--out", str(tmp_path / "a.pdf")]
    output = RUNNER.invoke(app, words, catch_exceptions=False, env={"COLUMNS": "300"}).stdout
    assert RESEARCH_ONLY in output


def test_dicom_files_are_written_too_and_contain_the_same_image(
    image: Path, tmp_path: Path
) -> None:
    found = report(image, "--out", tmp_path / "a.pdf", "--dicom", tmp_path / "study")
    assert sorted(found["dicom"]) == sorted(str(file) for file in (tmp_path / "study").iterdir())
    assert len(found["dicom"]) == 3
    whole = b"".join(Path(file).read_bytes() for file in found["dicom"])
    assert found["input_sha256"].encode() in whole
    assert b"Meier" not in whole
    (written,) = (Path(file) for file in found["dicom"] if "PixelData" in dcmread(file))
    (again,) = predict_files(load_classifier("phantom-cnn"), [written])
    assert again["probabilities"] == pytest.approx(found["probabilities"], abs=1e-6)
