"""The Train page without a browser: the form, and runs in every state."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covidxr.errors import ConfigError
from covidxr.models.recipes import RECIPES, STUDY_SETTINGS
from covidxr.records import Augmentation, Recipe, SplitPlan
from covidxr.runs.journal import Label, RunConfig, RunFolder

HOSTILE = "<b>x</b> [a](www.b.com) **c**"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COVIDXR_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def train(
    open_page: Callable[..., AppTest],
    runs: Path,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AppTest:
    monkeypatch.setenv("COVIDXR_DATASET", str(phantoms))
    return open_page("pages/train.py", tmp_path / "weights")


def plant(
    runs: Path, name: str, *events: dict[str, object], recipe: str = "poster-cnn", **changes: object
) -> RunFolder:
    run = RunFolder(runs / name)
    run.create(RunConfig(RECIPES[recipe].override(**changes), SplitPlan(), "/data/somewhere"))
    for event in events:
        run.report(dict(event))
    return run


def metrics(epoch: int, macro_f1: float) -> dict[str, object]:
    loss = {
        "train_loss": 1 / epoch,
        "train_accuracy": 0.5,
        "val_loss": 1.1 / epoch,
        "val_accuracy": macro_f1,
    }
    pace = {"images_per_second": 100.0, "seconds": 10.0 * epoch, "best_epoch": epoch, "epochs": 10}
    return {"event": "epoch", "epoch": epoch, "val_macro_f1": macro_f1, **loss, **pace}


def title(name: str) -> str:
    """The label of a field of a recipe."""
    by_name = {field.name: field for field in (*fields(Recipe), *fields(Augmentation))}
    found: str = by_name[name].metadata["title"]
    return found


def labels(app: AppTest) -> set[str]:
    return {
        w.label
        for widgets in (app.number_input, app.selectbox, app.checkbox, app.text_input)
        for w in widgets
    }


def test_the_form_has_a_control_with_help_for_every_field_of_a_recipe(train: AppTest) -> None:
    assert not train.exception
    named = [
        f
        for f in (*fields(Recipe), *fields(Augmentation))
        if f.name not in ("name", "augmentation")
    ]
    assert {f.metadata["title"] for f in named} <= labels(train)
    rate = next(w for w in train.number_input if w.label == title("learning_rate"))
    assert f"Baseline study: {STUDY_SETTINGS['learning_rate']}." in rate.help


def test_the_command_line_names_what_differs_from_the_recipe(
    train: AppTest, phantoms: Path, runs: Path
) -> None:
    next(w for w in train.number_input if w.label == title("rotation_degrees")).set_value(7.5)
    next(w for w in train.checkbox if w.label == title("horizontal_flip")).check()
    train.run()
    words = shlex.split(train.code[0].value)
    assert words[:4] == ["python", "-m", "covidxr", "train"]
    assert words[4:8] == ["--data", str(phantoms), "--recipe", "poster-cnn"]
    assert words[8:11] == ["--rotation-degrees", "7.5", "--horizontal-flip"]
    assert Path(words[words.index("--run-dir") + 1]).parent == runs


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_size", 1), ("learning_rate", -1.0), ("image_size", 8), ("epochs", 0)],
)
def test_a_wrong_setting_is_rejected_with_the_record_s_sentence(
    train: AppTest, texts: Callable[[AppTest], str], field: str, value: float
) -> None:
    next(w for w in train.number_input if w.label == title(field)).set_value(value)
    train.run()
    with pytest.raises(ConfigError) as error:
        RECIPES["poster-cnn"].override(**{field: value})
    assert str(error.value)[1:] in texts(train).replace("\\", "")
    assert "Start training" not in {button.label for button in train.button}


def test_a_wrong_seed_of_the_split_is_rejected(
    train: AppTest, texts: Callable[[AppTest], str]
) -> None:
    next(w for w in train.number_input if w.label == "Split seed").set_value(-3)
    train.run()
    with pytest.raises(ConfigError) as error:
        SplitPlan(seed=-3)
    assert str(error.value)[1:] in texts(train).replace("\\", "")


def test_a_missing_dataset_is_rejected(train: AppTest, texts: Callable[[AppTest], str]) -> None:
    next(w for w in train.text_input if w.label == "Dataset folder, zip or name").set_value(
        "/nowhere"
    )
    train.run()
    assert "/nowhere" in train.error[0].value.replace("\\", "")


def test_an_interrupted_run_says_why_and_can_be_resumed(
    open_page: Callable[..., AppTest], runs: Path, tmp_path: Path, texts: Callable[[AppTest], str]
) -> None:
    run = plant(
        runs,
        "one",
        {"event": "launched", "boot": "of another day"},
        metrics(1, 0.6),
        metrics(2, 0.8),
        metrics(3, 0.7),
    )
    run.write_label(Label(HOSTILE, "a **note**"))
    app = open_page("pages/train.py", tmp_path)
    app.segmented_control(key="part").set_value("Runs").run()
    assert not app.exception
    shown = texts(app).replace("\\", "").replace("\u2060", "")
    reason = run.state()[1]
    assert reason
    assert reason[1:] in shown
    assert HOSTILE in shown
    assert HOSTILE not in texts(app), "the name is taken for Markdown"
    assert {"Resume", "Delete"} <= {button.label for button in app.button}
    assert "Cancel" not in {button.label for button in app.button}
    assert {m.label: m.value for m in app.metric}["Best val. macro-F1"] == "80.0%"
    assert {m.label: m.value for m in app.metric}["Best epoch"] == "2 of 10"


def test_the_table_is_filtered_by_text_and_state(
    open_page: Callable[..., AppTest], runs: Path, tmp_path: Path
) -> None:
    plant(runs, "done", {"event": "started"}, metrics(1, 0.6), {"event": "finished"})
    plant(
        runs,
        "broken",
        {"event": "started"},
        {"event": "failed", "reason": "no such folder"},
        recipe="covidxr-resnet18",
    )
    app = open_page("pages/train.py", tmp_path)
    app.segmented_control(key="part").set_value("Runs").run()
    assert sorted(app.dataframe[0].value["Run"]) == ["broken", "done"]
    next(w for w in app.text_input if w.label == "Search").set_value("RESNET").run()
    assert list(app.dataframe[0].value["Run"]) == ["broken"]
    next(w for w in app.text_input if w.label == "Search").set_value("").run()
    app.button_group(key="states").set_value(["finished"]).run()
    assert list(app.dataframe[0].value["Run"]) == ["done"]


def test_a_damaged_run_breaks_neither_list_nor_page(
    open_page: Callable[..., AppTest], runs: Path, tmp_path: Path
) -> None:
    plant(runs, "done", {"event": "started"}, metrics(1, 0.6), {"event": "finished"})
    run = plant(runs, "damaged", {"event": "started"}, {"event": "finished"})
    (run.path / "config.json").write_text("{")
    app = open_page("pages/train.py", tmp_path)
    app.segmented_control(key="part").set_value("Runs").run()
    assert not app.exception
    assert len(app.dataframe[0].value) == 2
