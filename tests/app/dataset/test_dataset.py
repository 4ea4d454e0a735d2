"""The Dataset page without a browser."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import leaked_samples, split_data
from covidxr.evaluation.stored import stored_predictions
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.similar import features_of, similar_cases
from covidxr.records import CLASS_NAMES, SplitPlan

pytestmark = pytest.mark.slow


@pytest.fixture
def dataset(
    open_page: Callable[..., AppTest],
    phantoms: Path,
    two_models: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AppTest:
    monkeypatch.setenv("COVIDXR_DATASET", str(phantoms))
    return open_page("pages/dataset.py", two_models)


def go(app: AppTest, part: str) -> AppTest:
    return app.segmented_control(key="dataset part").set_value(part).run()


def tiles(app: AppTest) -> list[str]:
    """The pictures of the grid, by the names on their buttons."""
    return [
        button.label.replace("\\", "")
        for button in app.button
        if button.key and button.key.startswith("open ")
    ]


def test_the_overview_counts_what_is_there(dataset: AppTest, phantoms: Path) -> None:
    assert not dataset.exception
    assert {m.label: m.value for m in dataset.metric}["Pictures"] == "160"
    counts = split_data(open_dataset(phantoms), SplitPlan()).split.counts(CLASS_NAMES)
    table = dataset.dataframe[0].value
    assert list(dataset.dataframe[1].value["Pictures"]) == [160]
    assert list(table["All"]) == [sum(counts[split].values()) for split in ("train", "val", "test")]
    assert list(table["Lung opacity"]) == [
        counts[split]["Lung_Opacity"] for split in ("train", "val", "test")
    ]


def test_filters_of_the_grid_narrow_it_down(
    dataset: AppTest, texts: Callable[[AppTest], str]
) -> None:
    go(dataset, "Browse")
    assert len(tiles(dataset)) == 21
    assert "160 pictures of 160" in texts(dataset)
    dataset.multiselect(key="browse class").set_value(["COVID"]).run()
    dataset.multiselect(key="browse split").set_value(["test"]).run()
    assert "6 pictures of 160" in texts(dataset)
    assert all(name.startswith("COVID-") for name in tiles(dataset))
    first = tiles(dataset)[0]
    dataset.text_input(key="browse text").set_value(f"{first}.png").run()
    assert tiles(dataset) == [first]


def test_a_model_s_errors_can_be_looked_at(
    dataset: AppTest, two_models: Path, texts: Callable[[AppTest], str]
) -> None:
    _, predictions = stored_predictions("twin")
    part = predictions.take("test")
    wrong = int((part.y_true != part.y_pred).sum())
    go(dataset, "Browse")
    dataset.selectbox(key="browse model").set_value("twin").run()
    assert f"{len(part)} pictures of 160" in texts(dataset)
    dataset.button_group(key="browse verdict").set_value("Wrong").run()
    assert f"{wrong} pictures of 160" in texts(dataset)


def test_an_opened_picture_shows_its_facts_and_its_way_back(
    dataset: AppTest, texts: Callable[[AppTest], str]
) -> None:
    go(dataset, "Browse")
    next(
        button for button in dataset.button if button.key and button.key.startswith("open Normal")
    ).click().run()
    assert not dataset.exception
    said = texts(dataset)
    assert "**Class:** Normal" in said
    assert "Looks most alike" in said
    assert list(dataset.dataframe[0].value["Model"]) == ["phantom-cnn", "twin"]
    next(button for button in dataset.button if button.label == "Back to the grid").click().run()
    assert len(tiles(dataset)) == 21


def test_one_patient_or_one_group_can_be_looked_at(
    dataset: AppTest, phantoms: Path, texts: Callable[[AppTest], str]
) -> None:
    data = split_data(open_dataset(phantoms), SplitPlan())
    groups = data.split.groups
    sizes = np.bincount(groups)
    go(dataset, "Browse")
    largest = dataset.selectbox(key="browse group").options[0]
    assert largest.endswith(f"and {sizes.max() - 1} more")
    dataset.selectbox(key="browse group").set_value(largest).run()
    assert f"{sizes.max()} pictures of 160" in texts(dataset)
    dataset.selectbox(key="browse group").set_value(None).run()

    patients = Counter((sample.source, sample.patient_id) for sample in data.dataset.samples)
    (source, patient), n = next(entry for entry in patients.items() if entry[1] > 1)
    dataset.selectbox(key="browse patient").set_value(f"{patient} ({source}): {n} pictures").run()
    assert f"{n} pictures of 160" in texts(dataset)
    shown = set(tiles(dataset))
    assert shown == {
        Path(s.file).stem
        for s in data.dataset.samples
        if (s.source, s.patient_id) == (source, patient)
    }

    # An opened picture leads to its group, whatever was filtered before.
    next(
        button for button in dataset.button if button.key and button.key.startswith("open ")
    ).click().run()
    opened = dataset.session_state["opened"]
    group = groups[data.split.files.index(opened)]
    next(button for button in dataset.button if button.label.startswith("Its group")).click().run()
    assert set(tiles(dataset)) == {
        Path(f).stem for f, g in zip(data.split.files, groups, strict=True) if g == group
    }


@pytest.mark.slow
def test_an_opened_picture_has_neighbours_by_a_model_once_they_are_worked_out(
    dataset: AppTest,
    phantoms: Path,
    texts: Callable[[AppTest], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))
    go(dataset, "Browse")
    next(
        button for button in dataset.button if button.key and button.key.startswith("open Normal")
    ).click().run()
    opened = dataset.session_state["opened"]
    dataset.selectbox(key="alike by").set_value("phantom-cnn").run()
    assert "The model has to look at its 112 training pictures again first" in texts(dataset)
    next(button for button in dataset.button if button.label == "Summary at them").click().run()
    assert not dataset.exception
    assert "two training pictures drawn at random lie" in texts(dataset)
    model, whole = load_classifier("phantom-cnn"), open_dataset(phantoms)
    expected = similar_cases(model, features_of(model, whole), opened)
    assert set(tiles(dataset)) >= {Path(case.file).stem for case in expected}
    said = texts(dataset).replace("\\", "")
    assert all(f"{case.source}, distance {case.distance:.2f}" in said for case in expected)


def test_a_division_at_random_is_shown_with_its_leaks_and_reaches_training(
    dataset: AppTest, phantoms: Path
) -> None:
    go(dataset, "Split")
    assert not dataset.exception
    leaks = dataset.dataframe[1].value
    split = split_data(open_dataset(phantoms), SplitPlan("stratified")).split
    expected = int(leaked_samples(split)[split.rows("test")].sum())
    assert list(leaks["with a twin or their patient in training"]) == [
        "0 (0.0 %)",
        f"{expected} ({100 * expected / 24:.1f} %)",
    ]
    assert expected > 0
    before = list(dataset.dataframe[0].value["All"])
    dataset.slider[0].set_value(65).run()
    dataset.slider[1].set_value(30).run()
    assert list(dataset.dataframe[0].value["All"]) != before
    dataset.radio[0].set_value("stratified").run()
    dataset.switch_page("pages/train.py").run()
    assert "--protocol stratified" in dataset.code[0].value
    assert "--fractions 0.65/0.05/0.3" in dataset.code[0].value


def test_pictures_of_one_s_own_are_imported_judged_and_marked_as_external(
    open_page: Callable[..., AppTest],
    phantoms: Path,
    two_models: Path,
    tmp_path: Path,
    texts: Callable[[AppTest], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    models = Path(shutil.copytree(two_models, tmp_path / "models"))
    for theirs, ours in (
        ("healthy", "Normal"),
        ("covid-19", "COVID"),
        ("other", "Viral Pneumonia"),
    ):
        (tmp_path / "own" / theirs).mkdir(parents=True)
        for number in (1, 2, 3, 4):
            shutil.copy(
                phantoms / ours / "images" / f"{ours}-{number}.png", tmp_path / "own" / theirs
            )
    app = go(open_page("pages/dataset.py", models), "Bring your own")
    app.text_input(key="import path").set_value(str(tmp_path / "own")).run()
    assert (
        "8 pictures: Normal 4, COVID 4, Viral Pneumonia 0, Lung opacity 0. Left out: 4."
        in texts(app)
    )
    next(button for button in app.button if button.label == "Import").click().run()
    next(button for button in app.button if button.label == "Judge").click().run()
    assert not app.exception
    assert "n = 8" in app.success[0].value

    app.switch_page("pages/evaluate.py").run()
    assert not app.exception
    judged_on = next(box for box in app.selectbox if box.label == "Judged on")
    assert judged_on.options == ["Own test pictures", "External: own"]
    own = texts(app)
    judged_on.set_value("own").run()
    assert not app.exception
    assert "External test set own" in texts(app)
    assert "External test set" not in own
