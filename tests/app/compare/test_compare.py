"""Compare: metrics, paired tests, sections, and models that cannot be compared."""

import re
import shutil

import pytest

from covidxr.app.compare.sections import SECTIONS
from covidxr.models import store

PAGE = "pages/compare.py"
pytestmark = pytest.mark.slow


def test_one_model_alone_cannot_be_compared(open_page, phantom_model_folder):
    app = open_page(PAGE, phantom_model_folder)
    assert not app.exception
    assert "At least two models are required" in app.info[0].value
    assert app.code[0].value.startswith("python -m covidxr train")


def test_the_table_and_the_sentence_agree_with_the_predictions(open_page, two_models, texts):
    app = open_page(PAGE, two_models)
    assert not app.exception
    assert not app.error
    parts = {
        name: store.read_predictions(two_models / name).take("test")
        for name in ("phantom-cnn", "twin")
    }
    errors = {name: int((part.y_pred != part.y_true).sum()) for name, part in parts.items()}
    table = app.dataframe[0].value
    for name, wrong in errors.items():
        accuracy = table["Accuracy"][list(table["Model"]).index(name)]
        assert accuracy.startswith(f"{(24 - wrong) / 24 * 100:.1f}% (")
    better, worse = sorted(errors, key=errors.__getitem__)
    fewer = errors[worse] - errors[better]
    sentence = rf"{better} makes {fewer} .*than {worse}"
    assert re.search(sentence, texts(app).replace("\\", ""))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_opens(open_page, two_models, section):
    app = open_page(PAGE, two_models)
    app.segmented_control(key="contrast").set_value(section).run()
    assert not app.exception
    assert not app.error


def test_disagreements_are_counted_and_shown(open_page, two_models, phantoms, monkeypatch):
    monkeypatch.setenv("COVIDXR_DATASET", str(phantoms))
    app = open_page(PAGE, two_models)
    app.segmented_control(key="contrast").set_value("Disagreements").run()
    outcome = app.radio(key="outcome")
    a, b = (
        store.read_predictions(two_models / widget.value).take("test")
        for widget in app.selectbox
        if "model" in widget.label
    )
    right = [part.y_pred == part.y_true for part in (a, b)]
    counts = [
        int((right[0] & ~right[1]).sum()),
        int((~right[0] & right[1]).sum()),
        int((~right[0] & ~right[1]).sum()),
    ]
    assert [int(option.rpartition("(")[2].rstrip(")")) for option in outcome.options] == counts
    shown = next(i for i, count in enumerate(counts[:2]) if count)
    outcome.set_value([(True, False), (False, True)][shown]).run()
    assert len(app.image) == counts[shown]


def test_all_models_analyze_one_case(open_page, two_models, png):
    app = open_page(PAGE, two_models)
    app.segmented_control(key="contrast").set_value("Single case, all models").run()
    app.file_uploader[0].set_value([("case.png", png("COVID"), "image/png")])
    app.run()
    assert not app.exception
    assert len(app.image) == 3, "the image, and a heat map of each model"
    app.file_uploader[0].set_value([("case.png", b"no image", "image/png")])
    app.run()
    assert "not a valid PNG" in app.error[0].value


def test_models_of_other_samples_are_compared_only_when_asked(
    open_page, two_models, tmp_path, texts
):
    root = shutil.copytree(two_models, tmp_path / "weights")
    table = root / "twin" / "predictions.csv"
    lines = table.read_text().splitlines()
    dropped = next(i for i, line in enumerate(lines) if ",test," in line)
    table.write_text("\n".join(lines[:dropped] + lines[dropped + 1 :]) + "\n")
    app = open_page(PAGE, root)
    assert not app.exception
    assert "were not evaluated on the same test samples" in app.error[0].value.replace("\\", "")
    app.toggle(key="intersect").set_value(True).run()
    assert not app.exception
    assert "the same 23 test images" in texts(app)
    assert not app.segmented_control, "matrices of different images are not compared"


def test_models_of_other_classes_cannot_be_compared(open_page, two_models, tmp_path):
    root = shutil.copytree(two_models, tmp_path / "weights")
    for file in ("card.json", "predictions.csv"):
        path = root / "twin" / file
        path.write_text(path.read_text("utf-8").replace("Viral Pneumonia", "Tuberculosis"), "utf-8")
    app = open_page(PAGE, root)
    assert not app.exception
    assert "cannot be compared" in app.error[0].value.replace("\\", "")
    assert not app.toggle
