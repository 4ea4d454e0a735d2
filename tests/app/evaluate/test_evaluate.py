"""Evaluate: figures, sections, gallery, and what happens without models or pictures."""

import json
import os
import subprocess
import sys

import pytest

from covidxr.app.evaluate.sections import SECTIONS
from covidxr.formatting import percent
from covidxr.models import store

PAGE = "pages/evaluate.py"
pytestmark = pytest.mark.slow


def errors_of(root, model_id):
    """The files that a model called wrong on test."""
    part = store.read_predictions(root / model_id).take("test")
    return [
        file
        for file, true, called in zip(part.samples, part.y_true, part.y_pred, strict=True)
        if true != called
    ]


def test_without_models_it_says_how_to_get_one(open_page, tmp_path, texts):
    app = open_page(PAGE, tmp_path / "none")
    assert not app.exception
    assert "no model" in texts(app)
    assert not app.metric


def test_the_headline_is_what_the_card_says(open_page, phantom_model_folder):
    app = open_page(PAGE, phantom_model_folder)
    assert not app.exception
    card = store.read_card(phantom_model_folder / "phantom-cnn")
    accuracy, macro_f1, *_ = app.metric
    assert percent(card.metrics["accuracy"]) == f"{accuracy.value} ({accuracy.delta})"
    assert percent(card.metrics["macro_f1"]) == f"{macro_f1.value} ({macro_f1.delta})"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_opens(open_page, phantom_model_folder, section):
    app = open_page(PAGE, phantom_model_folder)
    app.segmented_control(key="section").set_value(section).run()
    assert not app.exception
    assert not app.error


def test_a_threshold_of_nought_finds_all_and_prevalence_moves_the_ppv(
    open_page, phantom_model_folder
):
    app = open_page(PAGE, phantom_model_folder)
    app.segmented_control(key="section").set_value("Threshold").run()
    threshold = next(widget for widget in app.slider if widget.label == "Threshold (%)")
    threshold.set_value(0.0).run()
    figures = {metric.label: metric.value for metric in app.metric}
    assert (figures["Sensitivity"], figures["Specificity"], figures["NPV"]) == (
        "100.0 %",
        "0.0 %",
        "-",
    )
    next(widget for widget in app.number_input).set_value(10.0).run()
    assert {metric.label: metric.value for metric in app.metric}["PPV"] == "10.0 %"


def test_errors_are_a_gallery_where_the_pictures_are_and_a_table_where_not(
    open_page, phantom_model_folder, phantoms, texts, monkeypatch
):
    wrong = errors_of(phantom_model_folder, "phantom-cnn")
    assert wrong, "the phantom model makes no error: the test needs a worse one"
    app = open_page(PAGE, phantom_model_folder)
    assert f"All {len(wrong)} errors" in texts(app)
    assert "name the dataset" in app.info[0].value
    listed = next(table.value for table in app.dataframe if "Truth" in table.value)
    assert sorted(listed["Picture"]) == sorted(wrong)

    monkeypatch.setenv("COVIDXR_DATASET", str(phantoms))
    app = open_page(PAGE, phantom_model_folder)
    assert not app.info
    assert len(app.image) == min(len(wrong), 6)
    app.toggle[0].set_value(True).run()
    assert not app.exception
    assert "11 x 11 grid" in app.image[0].captions[0]


def test_another_dataset_is_refused_in_a_sentence(open_page, phantom_model_folder, tmp_path):
    app = open_page(PAGE, phantom_model_folder)
    app.text_input(key="dataset").set_value(str(tmp_path / "nowhere")).run()
    assert not app.exception
    assert "there is no folder or zip" in app.error[0].value.replace("\\", "")


def test_damaged_predictions_are_a_sentence(open_page, two_models, tmp_path):
    import shutil

    root = shutil.copytree(two_models, tmp_path / "weights")
    for name in ("phantom-cnn", "twin"):
        (root / name / "predictions.csv").write_text("sample,split\n")
    app = open_page(PAGE, root)
    assert not app.exception
    assert app.error


def test_a_cell_of_another_model_is_not_taken_over(open_page, two_models, texts):
    app = open_page(PAGE, two_models)
    first, second = (entry.model_id for entry in store.list_models(two_models))
    app.session_state["cell"] = (first, (0, 0))
    app.run()
    assert "of Normal called right" in texts(app)
    app.segmented_control(key="section").set_value("Shortcuts").run()
    assert "of Normal called right" in texts(app)
    app.selectbox(key="model").set_value(second).run()
    assert not app.exception
    assert f"All {len(errors_of(two_models, second))} errors" in texts(app)


def test_a_card_s_own_words_stay_text(open_page, phantom_model_folder, tmp_path, texts):
    import shutil

    hostile = "![x](https://evil.example/x.png)"
    root = shutil.copytree(phantom_model_folder, tmp_path / "weights")
    for file in ("card.json", "predictions.csv"):
        path = root / "phantom-cnn" / file
        path.write_text(path.read_text("utf-8").replace("COVID", hostile), "utf-8")
    app = open_page(PAGE, root)
    for section in SECTIONS:
        app.segmented_control(key="section").set_value(section).run()
        assert not app.exception
        assert hostile not in texts(app), section


def test_no_torch_is_loaded_until_a_heat_map_is_asked_for(repository, two_models, phantoms):
    code = f"""
import json, sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(repository / "streamlit_app.py")!r}, default_timeout=60).run()
for path, key in (("pages/evaluate.py", "section"), ("pages/compare.py", "contrast")):
    assert not app.switch_page(path).run().exception
    for section in app.segmented_control(key=key).options:
        assert not app.segmented_control(key=key).set_value(section).run().exception
print(json.dumps("torch" in sys.modules))
"""
    environment = os.environ | {
        "COVIDXR_WEIGHTS": str(two_models),
        "COVIDXR_DATASET": str(phantoms),
    }
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=repository, env=environment
    )
    assert json.loads(result.stdout.strip().splitlines()[-1]) is False
