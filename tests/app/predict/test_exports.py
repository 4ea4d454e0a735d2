"""Downloads on Predict."""

import hashlib
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from pydicom import dcmread
from pypdf import PdfReader

from covidxr.app.cache import Case
from covidxr.app.predict import exports
from covidxr.models import store
from covidxr.records import RESEARCH_ONLY

TITLES = ["Report (PDF)", "Heat map (PNG)", "Results (JSON)", "Report (DICOM)"]


@pytest.mark.slow
def test_a_result_is_offered_in_four_formats(open_page, phantom_model_folder, png, monkeypatch):
    offered, button = {}, st.delta_generator.DeltaGenerator.download_button

    def watched(self, label, data, file_name, mime, **more):
        offered[label] = (data, file_name)
        return button(self, label, data, file_name, mime, **more)

    # Streamlit requests the content outside of the run of the page; so does this test.
    monkeypatch.setattr(st, "download_button", lambda *a, **k: watched(st._main, *a, **k))
    content = png("COVID", (300, 256))
    app = open_page("pages/predict.py", phantom_model_folder)
    app.file_uploader[0].set_value([("Meier.png", content, "image/png")])
    app.run()
    assert not app.exception
    assert [found.label for found in app.get("download_button")] == TITLES
    (label,) = [field for field in app.text_input if field.label.startswith("Case ID")]
    assert label.value == ""
    assert "Meier" not in " ".join(name for _, name in offered.values())
    (before,) = PdfReader(io.BytesIO(offered[TITLES[0]][0]())).pages
    assert "Meier" not in before.extract_text()
    label.set_value("Patient 7").run()
    (page,) = PdfReader(io.BytesIO(offered[TITLES[0]][0]())).pages
    text = " ".join(page.extract_text().split())
    assert "Patient 7" in text
    found = json.loads(offered[TITLES[2]][0]())
    assert found["note"] == RESEARCH_ONLY
    assert found["input_sha256"] == hashlib.sha256(content).hexdigest()
    assert found["input_sha256"] in text
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["gate"] == {"fitted": True, "refusals": []}
    assert len(found["stability"]["called"]) == 6
    sets = store.read_card(phantom_model_folder / "phantom-cnn").prediction_sets
    assert sets is not None
    assert found["prediction_set"] == [
        name for name, p in found["probabilities"].items() if p >= sets.thresholds[name]
    ]
    with zipfile.ZipFile(io.BytesIO(offered[TITLES[3]][0]())) as archive:
        files = {name: dcmread(archive.open(name)) for name in archive.namelist()}
    assert {name: (one.Modality, one.get("VerificationFlag")) for name, one in files.items()} == {
        "picture.dcm": ("OT", None),
        "findings.dcm": ("SR", "UNVERIFIED"),
        "report.dcm": ("DOC", "UNVERIFIED"),
    }
    assert found["input_sha256"] in str(files["findings.dcm"].to_json())
    image = Image.open(io.BytesIO(offered[TITLES[1]][0]()))
    assert image.size == (300, 256)
    assert np.ptp(np.asarray(image), axis=2).any(), "not in color"
    assert isinstance(image, PngImageFile)
    assert RESEARCH_ONLY in image.text["Comment"]


def test_without_highdicom_no_dicom_is_offered(monkeypatch):
    shown = []
    monkeypatch.setattr(st, "download_button", lambda title, *_, **__: shown.append(title))
    monkeypatch.setattr(exports, "lungs_of", lambda case: None)
    monkeypatch.setattr(exports, "writes_dicom", lambda: False)
    unused: Any = None
    exports.exports(unused, Case("a.png", "0" * 64, unused), unused, unused)
    assert shown == TITLES[:3]
