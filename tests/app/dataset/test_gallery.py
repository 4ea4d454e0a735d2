"""The gallery of a dataset: filters, and one image with its details."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data
from covidxr.evaluation.stored import stored_predictions
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.similar import features_of, similar_cases
from covidxr.records import SplitPlan

pytestmark = pytest.mark.slow


@pytest.fixture
def gallery(open_section: Callable[..., AppTest]) -> AppTest:
    return open_section("Browse")


def test_filters_narrow_the_gallery(
    gallery: AppTest, tiles: Callable[[AppTest], list[str]], texts: Callable[[AppTest], str]
) -> None:
    assert len(tiles(gallery)) == 21
    assert "160 of 160 images" in texts(gallery)
    gallery.multiselect(key="browse class").set_value(["COVID"]).run()
    gallery.multiselect(key="browse split").set_value(["test"]).run()
    assert "6 of 160 images" in texts(gallery)
    assert all(name.startswith("COVID-") for name in tiles(gallery))
    first = tiles(gallery)[0]
    gallery.text_input(key="browse text").set_value(f"{first}.png").run()
    assert tiles(gallery) == [first]


def test_incorrect_predictions_of_a_model_can_be_browsed(
    gallery: AppTest, two_models: Path, texts: Callable[[AppTest], str]
) -> None:
    _, predictions = stored_predictions("twin")
    part = predictions.take("test")
    wrong = int((part.y_true != part.y_pred).sum())
    gallery.selectbox(key="browse model").set_value("twin").run()
    assert f"{len(part)} of 160 images" in texts(gallery)
    gallery.button_group(key="browse prediction").set_value("Incorrect").run()
    assert f"{wrong} of 160 images" in texts(gallery)


def test_an_opened_image_shows_its_facts_and_the_way_back(
    gallery: AppTest,
    click: Callable[[AppTest, str], AppTest],
    tiles: Callable[[AppTest], list[str]],
    texts: Callable[[AppTest], str],
) -> None:
    click(gallery, "open Normal")
    assert not gallery.exception
    shown = texts(gallery)
    assert "**Class:** Normal" in shown
    assert "Most similar images" in shown
    assert list(gallery.dataframe[0].value["Model"]) == ["phantom-cnn", "twin"]
    click(gallery, "Back to gallery")
    assert len(tiles(gallery)) == 21


def test_one_patient_or_one_group_can_be_browsed(
    gallery: AppTest,
    click: Callable[[AppTest, str], AppTest],
    tiles: Callable[[AppTest], list[str]],
    phantoms: Path,
    texts: Callable[[AppTest], str],
) -> None:
    data = split_data(open_dataset(phantoms), SplitPlan())
    groups = data.split.groups
    sizes = np.bincount(groups)
    largest = gallery.selectbox(key="browse group").options[0]
    assert largest.endswith(f"and {sizes.max() - 1} more")
    gallery.selectbox(key="browse group").set_value(largest).run()
    assert f"{sizes.max()} of 160 images" in texts(gallery)
    gallery.selectbox(key="browse group").set_value(None).run()

    patients = Counter((sample.source, sample.patient_id) for sample in data.dataset.samples)
    (source, patient), n = next(entry for entry in patients.items() if entry[1] > 1)
    gallery.selectbox(key="browse patient").set_value(f"{patient} ({source}): {n} images").run()
    assert f"{n} of 160 images" in texts(gallery)
    assert set(tiles(gallery)) == {
        Path(sample.file).stem
        for sample in data.dataset.samples
        if (sample.source, sample.patient_id) == (source, patient)
    }

    # An opened image leads to its group, whatever the filters were.
    click(gallery, "open ")
    group = groups[data.split.files.index(gallery.session_state["opened"])]
    click(gallery, "Group: ")
    assert set(tiles(gallery)) == {
        Path(file).stem for file, own in zip(data.split.files, groups, strict=True) if own == group
    }


def test_an_opened_image_has_neighbors_in_a_model_s_features_once_they_are_computed(
    gallery: AppTest,
    click: Callable[[AppTest, str], AppTest],
    tiles: Callable[[AppTest], list[str]],
    phantoms: Path,
    texts: Callable[[AppTest], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))
    click(gallery, "open Normal")
    opened = gallery.session_state["opened"]
    gallery.selectbox(key="similarity").set_value("phantom-cnn").run()
    assert "112 training" in texts(gallery)
    click(gallery, "prepare phantom-cnn")
    assert not gallery.exception
    model, dataset = load_classifier("phantom-cnn"), open_dataset(phantoms)
    expected = similar_cases(model, features_of(model, dataset), opened)
    assert set(tiles(gallery)) >= {Path(case.file).stem for case in expected}
    shown = texts(gallery).replace("\\", "")
    assert all(f"{case.source}, distance {case.distance:.2f}" in shown for case in expected)
