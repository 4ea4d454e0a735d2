"""Similar training cases on Predict, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covidxr.datasets.opening import open_dataset
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.similar import features_of

PAGE = "pages/predict.py"


def upload(app: AppTest, name: str, content: bytes) -> AppTest:
    app.file_uploader[0].set_value([(name, content, "image/png")])
    return app.run()


@pytest.mark.slow
def test_without_the_model_s_dataset_it_says_what_is_missing(
    open_page: Callable[..., AppTest],
    phantom_model_folder: Path,
    png: Callable[..., bytes],
    texts: Callable[[AppTest], str],
) -> None:
    app = upload(open_page(PAGE, phantom_model_folder), "case.png", png("COVID"))
    assert not app.exception
    shown = texts(app)
    assert "Similar training cases" in shown
    assert "set the folder or zip of" in shown
    assert not app.image


@pytest.mark.slow
def test_a_training_image_finds_itself_and_is_reported_as_a_near_duplicate(
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
    app = upload(app, "case.png", (phantoms / file).read_bytes())
    assert not app.exception
    shown = texts(app).replace("\\", "")
    assert "True class of the 6 nearest" in shown
    assert any(
        "near-duplicate of this image is in the training set" in warning.value
        for warning in app.warning
    )
    assert f"{Path(file).stem}, phantom, near-duplicate, distance 0.00" in shown
    assert "It is not known whether they show the same patient." in shown
    assert len(app.image) == 6
