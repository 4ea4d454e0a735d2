"""Header elements that are not used, and burned-in text."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from covidxr.app.frame import literal
from covidxr.images.burned_in_text import BURNED_IN_TEXT
from covidxr.prediction.cases import sample_phantom
from tests.images.test_dicom import dicom

pytestmark = pytest.mark.slow
PAGE = "pages/predict.py"


def upload(app, name, content):
    app.file_uploader[0].set_value([(name, content, "image/png")])
    return app.run()


def test_elements_are_listed_by_category_and_no_value_is_shown(
    open_page, phantom_model_folder, texts
):
    content = dicom(
        np.asarray(sample_phantom("COVID")),
        8,
        PatientName="Meier^Anna",
        PatientID="4711",
        StudyDate="19610312",
        KVP="77",
    )
    app = upload(open_page(PAGE, phantom_model_folder), "scan.dcm", content)
    assert not app.exception
    assert "Header elements not used" in [one.label for one in app.expander]
    rows = dict(app.table[0].value.to_numpy().tolist())
    assert list(rows)[:3] == ["Patient", "Identifier", "Date or time"]
    assert rows["Patient"] == r"Patient\'s Name\, Patient ID"
    assert rows["Acquisition"] == "KVP"
    everything = texts(app) + str(rows)
    assert not any(value in everything for value in ("Meier", "4711", "1961"))


def test_a_png_has_no_elements_and_a_burned_in_name_is_suspected(
    open_page, phantom_model_folder, png
):
    app = upload(open_page(PAGE, phantom_model_folder), "clean.png", png("COVID"))
    assert "Header elements not used" not in [one.label for one in app.expander]
    assert not any(literal(BURNED_IN_TEXT) == one.value for one in app.warning)
    image, content = Image.open(io.BytesIO(png("COVID"))).resize((1600, 1600)), io.BytesIO()
    canvas = ImageDraw.Draw(image)
    canvas.rectangle((20, 20, 400, 60), 0)
    canvas.text((30, 25), "MEIER ANNA 1961", 255, font_size=24)
    image.save(content, "PNG")
    app = upload(app, "named.png", content.getvalue())
    assert not app.exception
    assert any(literal(BURNED_IN_TEXT) == one.value for one in app.warning)
