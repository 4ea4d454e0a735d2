"""The worklist on Predict: many files, or a zip of them."""

import base64
import io
import zipfile

import pytest
import streamlit as st
from PIL import Image

from covidxr.app.predict import worklist
from covidxr.images.reading import read_image
from covidxr.prediction.loading import list_models, load_classifier
from covidxr.prediction.worklist import Picture, WorklistRow, score_pictures
from covidxr.records import CLASS_NAMES, display_name
from tests.app.conftest import panes

pytestmark = pytest.mark.slow
PAGE = "pages/predict.py"


@pytest.fixture
def counted(monkeypatch):
    """How many pictures were scored in each go."""
    calls, score = [], score_pictures

    def counting(model, pictures, **others):
        calls.append(len(pictures))
        return score(model, pictures, **others)

    monkeypatch.setattr(worklist, "score_pictures", counting)
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
    return list(app.dataframe[0].value["Picture"])


def test_several_files_are_sorted_by_hand_worked_urgency_and_uncertainty(
    open_page, phantom_model_folder, png, counted
):
    files = {f"{name}.png": png(name) for name in CLASS_NAMES} | {
        "bad.png": b"text",
        "bad.zip": b"PK\3\4 and no more",
    }
    app = upload(open_page(PAGE, phantom_model_folder), *files.items())
    assert not app.exception
    model = load_classifier("phantom-cnn")
    said = {
        name: model.predict(read_image(files[name], name)).probabilities for name in list(files)[:4]
    }
    urgent = sorted(said, key=lambda name: said[name]["Normal"])
    unsure = sorted(said, key=lambda name: -WorklistRow(name, said[name]).uncertainty)
    assert names(app) == [*urgent, "bad.png", "bad.zip"]
    table = app.dataframe[0].value
    for i, name in enumerate(urgent):
        assert table["Verdict"][i] == display_name(max(said[name], key=said[name].get))
        assert table["Probability"][i] == pytest.approx(100 * max(said[name].values()), abs=1e-3)
        assert table["Any disease"][i] == pytest.approx(100 - 100 * said[name]["Normal"], abs=1e-3)
    assert list(table["Verdict"][4:]) == ["Cannot be read"] * 2
    assert table["Note"][4].startswith("it is not a PNG")
    assert "cannot open bad.zip" in table["Note"][5]
    assert table["Probability"].isna().tolist() == [False] * 4 + [True] * 2
    assert panes(app)[0]["caption"] == urgent[0]
    small = Image.open(
        io.BytesIO(base64.b64decode(table[""][0].removeprefix("data:image/png;base64,")))
    )
    assert (small.format, max(small.size)) == ("PNG", 64)

    for order, expected in (
        ("Uncertainty", [*unsure, "bad.png", "bad.zip"]),
        ("As dropped", list(files)),
    ):
        app.segmented_control[0].set_value(order).run()
        assert names(app) == expected
        assert panes(app)[0]["caption"] == expected[0]
    assert counted == [6], "a rerun scored again"


def test_a_zip_opens_by_the_names_in_it(open_page, phantom_model_folder, png):
    content = zipped({"a/one.png": png("COVID"), "b/bad.png": b"text", "notes.txt": b"not listed"})
    app = upload(open_page(PAGE, phantom_model_folder), ("ward.zip", content))
    assert not app.exception
    assert names(app) == ["a/one.png", "b/bad.png"]
    assert panes(app)[0]["caption"] == "a/one.png"
    assert any(text.value == "**2 pictures**: 1 answered, 1 unreadable" for text in app.markdown)
    upload(app, ("more.png", png("Normal")), ("ward.zip", content))
    assert sorted(names(app)) == ["more.png", "ward.zip/a/one.png", "ward.zip/b/bad.png"]
    upload(app, ("more.png", png("Normal")))
    assert not app.dataframe
    assert not any(key in app.session_state for key in ("worklist", "unread")), (
        "the pictures stay in memory"
    )


def test_new_pictures_alone_are_scored_and_those_taken_away_forgotten(
    phantom_model_folder, png, counted, monkeypatch
):
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))
    monkeypatch.setattr(st, "session_state", {})
    (entry,) = list_models()
    first, second, third = ({(name, 0): Picture(name, lambda: png("COVID"))} for name in "abc")
    assert list(worklist._judged(entry.card, first | second)) == [("a", 0), ("b", 0)]
    assert [row.name for row in worklist._judged(entry.card, third | first).values()] == ["c", "a"]
    worklist._judged(entry.card, first | second)
    assert counted == [2, 1, 1]


def test_a_zip_of_bad_files_is_a_table_and_a_sentence(open_page, phantom_model_folder):
    app = upload(open_page(PAGE, phantom_model_folder), ("ward.zip", zipped({"bad.png": b"text"})))
    assert not app.exception
    assert names(app) == ["bad.png"]
    assert app.error[0].value.startswith(r"Cannot read bad\.png\:")
    app = upload(open_page(PAGE, phantom_model_folder), ("ward.zip", b"PK\3\4 and no more"))
    assert names(app) == ["ward.zip"]
    assert r"cannot open ward\.zip" in app.error[0].value.lower()


def test_the_download_holds_all_rows_as_dropped(open_page, phantom_model_folder, png, monkeypatch):
    offered = {}
    monkeypatch.setattr(
        st, "download_button", lambda label, data, name, **_: offered.update({name: data})
    )
    upload(open_page(PAGE, phantom_model_folder), ("b.png", png("COVID")), ("bad.png", b"text"))
    (name, data) = offered.popitem()
    header, good, bad = data().splitlines()
    assert name == "worklist-phantom-cnn.csv"
    assert (
        header
        == "file,verdict,predicted,Normal,COVID,Viral Pneumonia,Lung_Opacity,disease,uncertainty,prediction_set,reason"
    )
    model = load_classifier("phantom-cnn")
    said = model.predict(read_image(png("COVID"), "b.png"))
    cells = good.split(",")
    assert cells[:3] == ["b.png", "answered", said.predicted]
    assert [float(cell) for cell in cells[3:7]] == pytest.approx(
        [said.probabilities[k] for k in CLASS_NAMES], abs=1e-5
    )
    assert bad.startswith("bad.png,unreadable,,,,,,,,,")
