"""Predict: good, bad and hostile files."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from covidxr.images import reading
from covidxr.prediction.cases import padding_sentence, sample_phantom
from covidxr.records import CLASS_NAMES, display_name
from tests.app.conftest import panes
from tests.images.test_dicom import dicom

PAGE = "pages/predict.py"


def upload(app, *files):
    app.file_uploader[0].set_value([(name, content, "image/png") for name, content in files])
    return app.run()


def test_without_models_it_says_how_to_get_one(open_page, tmp_path, texts):
    app = open_page(PAGE, tmp_path / "none")
    assert not app.exception
    assert "No model available" in texts(app)
    assert not app.file_uploader


def test_when_every_model_is_broken_it_says_why(open_page, tmp_path):
    (tmp_path / "broken").mkdir()
    app = open_page(PAGE, tmp_path)
    assert not app.exception
    assert "broken" in app.error[0].value


@pytest.mark.slow
def test_an_empty_page_offers_phantoms(open_page, phantom_model_folder):
    app = open_page(PAGE, phantom_model_folder)
    assert [button.label for button in app.button] == [display_name(name) for name in CLASS_NAMES]
    assert not panes(app)
    app.button[1].click().run()
    assert not app.exception
    assert panes(app)[0]["caption"] == "Synthetic phantom, not a radiograph"


@pytest.mark.slow
def test_a_radiograph_gets_prediction_heat_map_and_warning(open_page, phantom_model_folder, png):
    app = upload(open_page(PAGE, phantom_model_folder), ("case.png", png("COVID")))
    assert not app.exception
    assert "%" in app.subheader[0].value
    assert app.markdown[1].value.startswith(r"90\% prediction set\: ")
    assert "synthetic phantoms" in app.warning[0].value
    image, overlay = panes(app)
    assert image["caption"] == "case.png"
    assert "11 x 11 grid" in overlay["caption"]
    of = {widget.label: widget for widget in app.selectbox}
    other = next(name for name in CLASS_NAMES if name != of["Explain class"].value)
    of["Explain class"].set_value(other).run()
    assert display_name(other) in panes(app)[1]["caption"]
    assert any("has not been measured" in text.value for text in app.markdown)
    assert any("no lung segmenter is stored" in text.value for text in app.caption)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "decoder"), [("a.png", "read_raster"), ("a.dcm", "read_dicom")])
def test_an_upload_is_decoded_once(
    open_page, phantom_model_folder, png, monkeypatch, name, decoder
):
    content = png("COVID") if name == "a.png" else dicom(sample_phantom("COVID"), 8)
    calls, decode = [], getattr(reading, decoder)

    def counting(content, name):
        calls.append(name)
        return decode(content, name)

    app = open_page(PAGE, phantom_model_folder)
    monkeypatch.setattr(reading, decoder, counting)
    app = upload(app, (name, content))
    assert not app.exception
    of = {widget.label: widget for widget in app.selectbox}
    of["Method"].set_value("occlusion").run()
    assert not app.exception
    assert len(panes(app)) == 2
    assert calls == [name]


@pytest.mark.slow
def test_an_image_that_is_not_square_reports_its_padding(open_page, phantom_model_folder, png):
    content = png("Normal", (400, 300))
    app = upload(open_page(PAGE, phantom_model_folder), ("wide.png", content))
    padding = padding_sentence(reading.read_image(content, ""))
    assert panes(app)[0]["caption"] == f"wide.png. {padding}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["empty", "text", "truncated"])
def test_a_bad_file_is_a_sentence(open_page, phantom_model_folder, png, kind):
    whole = png("COVID")
    content = {"empty": b"", "text": b"this is text", "truncated": whole[: len(whole) // 2]}[kind]
    app = upload(open_page(PAGE, phantom_model_folder), ("bad.png", content))
    assert not app.exception
    assert app.error[0].value.startswith(r"Cannot read bad\.png\:")
    assert not panes(app)


@pytest.mark.slow
def test_an_error_never_names_an_earlier_file_of_the_same_content(open_page, phantom_model_folder):
    app = upload(open_page(PAGE, phantom_model_folder), ("Meier.png", b"text"))
    assert "Meier" in app.error[0].value
    app = upload(open_page(PAGE, phantom_model_folder), ("bad.png", b"text"))
    assert app.error[0].value.startswith(r"Cannot read bad\.png\:")


@pytest.mark.slow
def test_one_bad_file_is_not_the_end_of_the_rest(open_page, phantom_model_folder, png):
    files = [("one.png", png("COVID")), ("bad.png", b"text"), ("two.png", png("Normal"))]
    app = upload(open_page(PAGE, phantom_model_folder), *files)
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["Image"]) == ["one.png", "two.png", "bad.png"]
    assert table["Prediction"][2] == "Unreadable"
    assert "not a valid PNG" in table["Remarks"][2]
    assert table["Probability"].isna().tolist() == [False, False, True]
    assert len(panes(app)) == 2


@pytest.mark.slow
def test_a_hostile_name_stays_text(open_page, phantom_model_folder, png):
    name = "[x](http:a) **b** <img> :smile:.png"
    app = upload(open_page(PAGE, phantom_model_folder), (name, png("COVID")))
    assert not app.exception
    assert panes(app)[0]["caption"] == name
    app = upload(open_page(PAGE, phantom_model_folder), (name, b"text"))
    assert r"\*\*b\*\*" in app.error[0].value


@pytest.mark.slow
def test_an_ood_image_is_not_analyzed_unless_asked(open_page, phantom_model_folder, png):
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)).save(
        content, "PNG"
    )
    app = upload(open_page(PAGE, phantom_model_folder), ("noise.png", content.getvalue()))
    assert not app.exception
    assert r"Input check failed\:" in app.warning[0].value
    assert not app.subheader
    app.toggle[0].set_value(True).run()
    assert "%" in app.subheader[0].value
    assert r"Input check failed\:" in app.warning[0].value


@pytest.mark.slow
def test_a_detector_that_an_audit_fits_meanwhile_is_used_at_once(
    open_page, phantom_model_folder, png, tmp_path
):
    shutil.copytree(phantom_model_folder, tmp_path / "weights")
    card = tmp_path / "weights" / "phantom-cnn" / "card.json"
    own = json.loads(card.read_text("utf-8"))
    card.write_text(json.dumps({**own, "gate": None}), "utf-8")
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (256, 256), dtype=np.uint8)).save(
        noise, "PNG"
    )
    app = upload(open_page(PAGE, tmp_path / "weights"), ("noise.png", noise.getvalue()))
    assert any(text.value == "Input check unavailable" for text in app.markdown)
    card.write_text(json.dumps(own), "utf-8")
    app.run()
    assert r"Input check failed\:" in app.warning[0].value


@pytest.mark.slow
def test_damaged_weights_are_a_sentence(open_page, phantom_model_folder, png, tmp_path):
    root = tmp_path / "weights"
    shutil.copytree(phantom_model_folder, root)
    card = json.loads((root / "phantom-cnn" / "card.json").read_text())
    (root / "phantom-cnn" / "card.json").write_text(json.dumps(card | {"weights_sha256": "0" * 64}))
    app = upload(open_page(PAGE, root), ("case.png", png("COVID")))
    assert not app.exception
    assert "sha256" in app.error[0].value
