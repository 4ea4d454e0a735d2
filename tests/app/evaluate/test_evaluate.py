"""The Evaluate page: metrics, sections and gallery, also without models or images."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from covidxr.app.evaluate.sections import SECTIONS
from covidxr.formatting import count, percent
from covidxr.metrics.calibration import apply_temperature
from covidxr.models import store

PAGE = "pages/evaluate.py"
pytestmark = pytest.mark.slow


def errors_of(root, model_id):
    """The test images that a model misclassified."""
    part = store.read_predictions(root / model_id).take("test")
    return [
        file
        for file, true, predicted in zip(part.samples, part.y_true, part.y_pred, strict=True)
        if true != predicted
    ]


def test_without_models_it_says_how_to_get_one(open_page, tmp_path, texts):
    app = open_page(PAGE, tmp_path / "none")
    assert not app.exception
    assert app.code[0].value.startswith("python -m covidxr train")
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


def test_a_threshold_of_zero_finds_all_and_the_prevalence_changes_the_ppv(
    open_page, phantom_model_folder
):
    app = open_page(PAGE, phantom_model_folder)
    app.segmented_control(key="section").set_value("Threshold").run()
    threshold = next(widget for widget in app.slider if widget.label == "Threshold (%)")
    threshold.set_value(0.0).run()
    shown = {metric.label: metric.value for metric in app.metric}
    assert (shown["Sensitivity"], shown["Specificity"], shown["NPV"]) == ("100.0%", "0.0%", "–")
    next(widget for widget in app.number_input).set_value(10.0).run()
    assert {metric.label: metric.value for metric in app.metric}["PPV"] == "10.0%"


def test_an_operating_point_is_used_exactly_though_the_slider_rounds_it(
    open_page, phantom_model_folder, tmp_path, texts
):
    root = Path(shutil.copytree(phantom_model_folder, tmp_path / "weights"))
    card = store.read_card(root / "phantom-cnn")
    part = store.read_predictions(root / "phantom-cnn").take("test")
    scores = apply_temperature(part.y_score, card.temperature)[:, 1]
    # Rounded up, this threshold would miss the image that it comes from.
    threshold = next(float(p) for p in scores if round(float(p) * 100, 1) / 100 > p)
    file = root / "phantom-cnn" / "card.json"
    content = json.loads(file.read_text("utf-8"))
    content["operating_points"][card.class_names[1]]["youden"]["threshold"] = threshold
    file.write_text(json.dumps(content), "utf-8")
    app = open_page(PAGE, root)
    app.segmented_control(key="section").set_value("Threshold").run()
    app.selectbox(key="rule").set_value("youden").run()
    assert f"{(scores >= threshold).sum()} predicted positive" in texts(app)


def test_errors_are_a_gallery_with_the_images_and_a_table_without(
    open_page, phantom_model_folder, phantoms, texts, monkeypatch
):
    wrong = errors_of(phantom_model_folder, "phantom-cnn")
    assert wrong, "the phantom model makes no error: the test needs a worse one"
    app = open_page(PAGE, phantom_model_folder)
    assert count(len(wrong), "error") in [title.value for title in app.subheader]
    assert app.info
    listed = [table.value.iloc[:, 0].tolist() for table in app.dataframe]
    assert sorted(wrong) in [sorted(map(str, column)) for column in listed]

    monkeypatch.setenv("COVIDXR_DATASET", str(phantoms))
    app = open_page(PAGE, phantom_model_folder)
    assert not app.info
    assert len(app.image) == min(len(wrong), 6)
    app.toggle[0].set_value(True).run()
    assert not app.exception
    assert "11 x 11" in app.image[0].captions[0]


def test_a_missing_dataset_is_an_error(open_page, phantom_model_folder, tmp_path):
    app = open_page(PAGE, phantom_model_folder)
    app.text_input(key="dataset").set_value(str(tmp_path / "nowhere")).run()
    assert not app.exception
    assert "nowhere" in app.error[0].value


def test_damaged_predictions_are_an_error(open_page, two_models, tmp_path):
    root = shutil.copytree(two_models, tmp_path / "weights")
    for name in ("phantom-cnn", "twin"):
        (root / name / "predictions.csv").write_text("sample,split\n")
    app = open_page(PAGE, root)
    assert not app.exception
    assert app.error


def test_a_cell_of_another_model_is_not_kept(open_page, two_models, texts):
    app = open_page(PAGE, two_models)
    first, second = (entry.model_id for entry in store.list_models(two_models))
    app.session_state["cell"] = (first, (0, 0))
    app.run()
    assert "of Normal correctly classified" in texts(app)
    app.segmented_control(key="section").set_value("Shortcuts").run()
    assert "of Normal correctly classified" in texts(app)
    app.selectbox(key="model").set_value(second).run()
    assert not app.exception
    assert count(len(errors_of(two_models, second)), "error") in texts(app)


def test_text_of_a_card_is_not_markdown(open_page, phantom_model_folder, tmp_path, texts):
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
