"""Similar training pictures on Predict, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covidxr.datasets.opening import open_dataset
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.similar import features_of

PAGE = "pages/predict.py"


def drop(app: AppTest, name: str, content: bytes) -> AppTest:
    app.file_uploader[0].set_value([(name, content, "image/png")])
    return app.run()


@pytest.mark.slow
def test_without_the_model_s_dataset_it_says_what_is_missing(
    open_page: Callable[..., AppTest],
    phantom_model_folder: Path,
    png: Callable[..., bytes],
    texts: Callable[[AppTest], str],
) -> None:
    app = drop(open_page(PAGE, phantom_model_folder), "case.png", png("COVID"))
    assert not app.exception
    said = texts(app)
    assert "Similar training pictures" in said
    assert "name the folder or zip of" in said
    assert not app.image


@pytest.mark.slow
def test_a_training_picture_finds_itself_and_is_said_to_prove_little(
    open_page: Callable[..., AppTest],
    phantom_model_folder: Path,
    phantoms: Path,
    texts: Callable[[AppTest], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COVIDXR_DATASET", str(phantoms))
    app = open_page(PAGE, phantom_model_folder)
    model = load_classifier("phantom-cnn")
    known = features_of(model, open_dataset(phantoms))
    file = known.data.split.files[known.rows[0]]
    app = drop(app, "case.png", (phantoms / file).read_bytes())
    assert not app.exception
    said = texts(app).replace("\\", "")
    assert "Of the 6 nearest" in said
    assert any("learned from a picture nearly the same" in warning.value for warning in app.warning)
    assert f"{Path(file).stem}, phantom, nearly the same picture, distance 0.00" in said
    assert "Whether one of them is of the same patient is not known." in said
    assert len(app.image) == 6
