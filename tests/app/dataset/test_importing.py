"""The import of a dataset, and external validation on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covidxr.records import CLASS_NAMES

pytestmark = pytest.mark.slow


@pytest.fixture
def own(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four images for each of three labels."""
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    labels = {"healthy": "Normal", "covid-19": "COVID", "other": "Viral Pneumonia"}
    for label, name in labels.items():
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in (1, 2, 3, 4):
            shutil.copy(phantoms / name / f"images/{name}-{number}.png", tmp_path / "own" / label)
    return tmp_path / "own"


def test_a_dataset_is_imported_evaluated_and_marked_as_external(
    open_section: Callable[..., AppTest],
    click: Callable[[AppTest, str], AppTest],
    two_models: Path,
    own: Path,
    tmp_path: Path,
    texts: Callable[[AppTest], str],
) -> None:
    models = Path(shutil.copytree(two_models, tmp_path / "models"))
    app = open_section("Import data", models)
    app.text_input(key="import path").set_value(str(own)).run()
    counts = "Normal 4, COVID-19 4, Viral pneumonia 0, Lung opacity 0"
    assert f"8 images: {counts}. Excluded: 4." in texts(app)
    click(app, "Import")
    click(app, "Evaluate")
    assert not app.exception
    assert "n = 8" in app.success[0].value

    app.switch_page("pages/evaluate.py").run()
    assert not app.exception
    test_set = next(box for box in app.selectbox if "External: own" in box.options)
    before = texts(app)
    test_set.set_value("own").run()
    assert not app.exception
    assert "External test set own" in texts(app)
    assert "External test set" not in before


def test_an_imported_dataset_is_opened_by_its_name(
    open_section: Callable[..., AppTest],
    click: Callable[[AppTest, str], AppTest],
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    for name in CLASS_NAMES:
        shutil.copytree(phantoms / name / "images", tmp_path / "hospital" / name)
    app = open_section("Import data")
    app.text_input(key="import path").set_value(str(tmp_path / "hospital")).run()
    click(app, "Import")
    app.segmented_control(key="dataset part").set_value("Overview").run()
    app.text_input(key="dataset").set_value("hospital").run()
    assert not app.exception
    assert not app.error
    assert {metric.label: metric.value for metric in app.metric}["Images"] == "160"
