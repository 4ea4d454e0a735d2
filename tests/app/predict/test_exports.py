"""What Predict lets a reader take home."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from pydicom import dcmread
from pypdf import PdfReader

from covidxr.app.cache import Picture
from covidxr.app.predict import exports
from covidxr.models import store
from covidxr.records import RESEARCH_ONLY

TITLES = ["Report (PDF)", "Heat map (PNG)", "Figures (JSON)", "Report (DICOM)"]


@pytest.mark.slow
def test_an_answer_is_offered_in_four_forms(open_page, phantom_model_folder, png, monkeypatch):
    offered, button = {}, st.delta_generator.DeltaGenerator.download_button

    def watched(self, label, data, file_name, mime, **more):
        offered[label] = (data, file_name)
        return button(self, label, data, file_name, mime, **more)

    # Streamlit asks for the content outside of the run of the page; so does this test.
    monkeypatch.setattr(st, "download_button", lambda *a, **k: watched(st._main, *a, **k))
    content = png("COVID", (300, 256))
    app = open_page("pages/predict.py", phantom_model_folder)
    app.file_uploader[0].set_value([("Meier.png", content, "image/png")])
    app.run()
    assert not app.exception
    assert [found.label for found in app.get("download_button")] == TITLES
    (label,) = [field for field in app.text_input if field.label.startswith("Label on the report")]
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
    assert found["prediction_set"] == [
        name for name, p in found["probabilities"].items() if p >= sets.thresholds[name]
    ]
    with zipfile.ZipFile(io.BytesIO(offered[TITLES[3]][0]())) as archive:
        files = {name: dcmread(archive.open(name)) for name in archive.namelist()}
    assert {name: (one.Modality, one.get("VerificationFlag")) for name, one in files.items()} == {
        "picture.dcm": ("OT", None), "findings.dcm": ("SR", "UNVERIFIED"), "report.dcm": ("DOC", "UNVERIFIED"),
    }  # fmt: skip
    assert found["input_sha256"] in str(files["findings.dcm"].to_json())
    picture = Image.open(io.BytesIO(offered[TITLES[1]][0]()))
    assert picture.size == (300, 256)
    assert np.ptp(np.asarray(picture), axis=2).any()  # coloured
    assert RESEARCH_ONLY in picture.text["Comment"]


def test_without_the_extra_dicom_is_not_offered(monkeypatch):
    shown = []
    monkeypatch.setattr(st, "download_button", lambda title, *_, **__: shown.append(title))
    monkeypatch.setattr(exports, "lungs_of", lambda picture: None)
    monkeypatch.setattr(exports, "writes_dicom", lambda: False)
    exports.exports(None, Picture.of("a.png", b"a"), None, None)
    assert shown == TITLES[:3]
