"""The worklist on Predict: several files, or a zip."""

import base64
import io
import zipfile

import pytest
import streamlit as st
from PIL import Image

from covidxr.app.predict import worklist
from covidxr.images.reading import read_image
from covidxr.prediction.loading import list_models, load_classifier
from covidxr.prediction.worklist import ImageFile, WorklistRow, predict_images
from covidxr.records import CLASS_NAMES, display_name
from tests.app.conftest import panes
from tests.narrowing import known

pytestmark = pytest.mark.slow
PAGE = "pages/predict.py"


@pytest.fixture
def counted(monkeypatch):
    """How many images were analyzed in each run."""
    calls, score = [], predict_images

    def counting(model, files, *others, **named):
        calls.append(len(files))
        return score(model, files, *others, **named)

    monkeypatch.setattr(worklist, "predict_images", counting)
    return calls


def upload(app, *files):
    app.file_uploader[0].set_value(
        [(name, content, "application/octet-stream") for name, content in files]
    )
    return app.run()


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, own in files.items():
            archive.writestr(name, own)
    return content.getvalue()


def names(app):
    return list(app.dataframe[0].value["Image"])


def test_several_files_are_sorted_by_suspicion_and_uncertainty(
    open_page, phantom_model_folder, png, counted
):
    files = {f"{name}.png": png(name) for name in CLASS_NAMES} | {
        "bad.png": b"text",
        "bad.zip": b"PK\3\4 and no more",
    }
    app = upload(open_page(PAGE, phantom_model_folder), *files.items())
    assert not app.exception
    model = load_classifier("phantom-cnn")
    expected = {
        name: model.predict(read_image(files[name], name)).probabilities for name in list(files)[:4]
    }
    suspicious = sorted(expected, key=lambda name: expected[name]["Normal"])
    unsure = sorted(
        expected, key=lambda name: -known(WorklistRow(name, expected[name]).uncertainty)
    )
    assert names(app) == [*suspicious, "bad.png", "bad.zip"]
    table = app.dataframe[0].value
    for i, name in enumerate(suspicious):
        assert table["Prediction"][i] == display_name(
            max(expected[name], key=expected[name].__getitem__)
        )
        assert table["Probability"][i] == pytest.approx(
            100 * max(expected[name].values()), abs=1e-3
        )
        assert table["P(abnormal)"][i] == pytest.approx(
            100 - 100 * expected[name]["Normal"], abs=1e-3
        )
    assert list(table["Prediction"][4:]) == ["Unreadable"] * 2
    assert table["Remarks"][4].startswith("it is not a valid PNG")
    assert "cannot open bad.zip" in table["Remarks"][5]
    assert table["Probability"].isna().tolist() == [False] * 4 + [True] * 2
    assert panes(app)[0]["caption"] == suspicious[0]
    small = Image.open(
        io.BytesIO(base64.b64decode(table[""][0].removeprefix("data:image/png;base64,")))
    )
    assert (small.format, max(small.size)) == ("PNG", 64)

    for order, listed in (
        ("Uncertainty", [*unsure, "bad.png", "bad.zip"]),
        ("Upload order", list(files)),
    ):
        app.segmented_control[0].set_value(order).run()
        assert names(app) == listed
        assert panes(app)[0]["caption"] == listed[0]
    assert counted == [6], "a rerun analyzed again"


def test_a_zip_opens_by_the_names_in_it(open_page, phantom_model_folder, png):
    content = zipped({"a/one.png": png("COVID"), "b/bad.png": b"text", "notes.txt": b"not listed"})
    app = upload(open_page(PAGE, phantom_model_folder), ("ward.zip", content))
    assert not app.exception
    assert names(app) == ["a/one.png", "b/bad.png"]
    assert panes(app)[0]["caption"] == "a/one.png"
    assert any(text.value == "**2 images**: 1 analyzed, 1 unreadable" for text in app.markdown)
    upload(app, ("more.png", png("Normal")), ("ward.zip", content))
    assert sorted(names(app)) == ["more.png", "ward.zip/a/one.png", "ward.zip/b/bad.png"]
    upload(app, ("more.png", png("Normal")))
    assert not app.dataframe
    assert not any(key in app.session_state for key in ("worklist", "image files")), (
        "the images remain in memory"
    )


def test_only_new_images_are_analyzed_and_removed_ones_forgotten(
    phantom_model_folder, png, counted, monkeypatch
):
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    monkeypatch.setattr(st, "session_state", {})
    (entry,) = list_models()
    card = known(entry.card)
    first, second, third = ({(name, 0): ImageFile(name, lambda: png("COVID"))} for name in "abc")
    assert list(worklist._analyzed(card, first | second)) == [("a", 0), ("b", 0)]
    assert [row.name for row in worklist._analyzed(card, third | first).values()] == [
        "c",
        "a",
    ]
    worklist._analyzed(card, first | second)
    assert counted == [2, 1, 1]


def test_a_zip_of_bad_files_is_a_table_and_a_sentence(open_page, phantom_model_folder):
    app = upload(open_page(PAGE, phantom_model_folder), ("ward.zip", zipped({"bad.png": b"text"})))
    assert not app.exception
    assert names(app) == ["bad.png"]
    assert app.error[0].value.startswith(r"Cannot read bad\.png\:")
    app = upload(open_page(PAGE, phantom_model_folder), ("ward.zip", b"PK\3\4 and no more"))
    assert names(app) == ["ward.zip"]
    assert r"cannot open ward\.zip" in app.error[0].value.lower()


def test_the_download_holds_all_rows_in_upload_order(
    open_page, phantom_model_folder, png, monkeypatch
):
    offered = {}
    monkeypatch.setattr(
        st, "download_button", lambda label, data, name, **_: offered.update({name: data})
    )
    upload(open_page(PAGE, phantom_model_folder), ("b.png", png("COVID")), ("bad.png", b"text"))
    (name, data) = offered.popitem()
    header, good, bad = data().splitlines()
    assert name == "worklist-phantom-cnn.csv"
    columns = ["file", "verdict", "predicted", *CLASS_NAMES]
    assert header.split(",") == [*columns, "disease", "uncertainty", "prediction_set", "reason"]
    model = load_classifier("phantom-cnn")
    prediction = model.predict(read_image(png("COVID"), "b.png"))
    cells = good.split(",")
    assert cells[:3] == ["b.png", "answered", prediction.predicted]
    assert [float(cell) for cell in cells[3:7]] == pytest.approx(
        [prediction.probabilities[k] for k in CLASS_NAMES], abs=1e-5
    )
    assert bad.startswith("bad.png,unreadable,,,,,,,,,")
