from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from covidxr.errors import ConfigError
from covidxr.models.recipes import STUDY_SETTINGS, recipe
from covidxr.records import (
    Augmentation,
    CasePrediction,
    Predictions,
    Preprocessing,
    Recipe,
    SplitFractions,
    SplitPlan,
    display_name,
)


def make_predictions(**changes: object) -> Predictions:
    fields = {
        "class_names": ("Normal", "COVID"),
        "samples": ("a", "b", "c"),
        "splits": ("val", "test", "test"),
        "y_true": np.array([0, 1, 0]),
        "y_score": np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]),
    }
    return Predictions(**(fields | changes))  # type: ignore[arg-type]


def test_fractions_must_sum_to_1() -> None:
    with pytest.raises(ConfigError, match=r"must sum to 1, got 0.7 \+ 0.2 \+ 0.2 = 1.1"):
        SplitFractions(0.7, 0.2, 0.2)


@pytest.mark.parametrize(("train", "val", "test"), [(1.0, 0.0, 0.0), (1.2, -0.1, -0.1)])
def test_a_fraction_must_be_between_0_and_1(train: float, val: float, test: float) -> None:
    with pytest.raises(ConfigError, match="must be between 0 and 1"):
        SplitFractions(train, val, test)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("epochs", 0, "epochs must be 1 or more, got 0"),
        ("learning_rate", -1.0, "learning_rate must be positive"),
        ("optimizer", "lion", "optimizer must be sgd, adam or adamw, got 'lion'"),
        ("image_size", 8, "image_size must be between 32 and 1024 pixels, got 8"),
        ("rotation_degrees", 200.0, "rotation_degrees must be between 0 and 180"),
        ("zoom", 1.5, "zoom must be 0 or more and less than 1"),
        ("batch_size", 1, "batch_size must be between 2 and 4096"),
        ("dropout", 0.5, "a recipe has no field dropout"),
    ],
)
def test_a_recipe_rejects_invalid_values_by_name(field: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        recipe("poster-cnn").override(**{field: value})


def test_override_changes_the_augmentation_and_nothing_else() -> None:
    changed = recipe("poster-cnn").override(epochs=3, horizontal_flip=True)
    assert changed.epochs == 3
    assert changed.augmentation == Augmentation(horizontal_flip=True)
    assert changed.learning_rate == recipe("poster-cnn").learning_rate


def test_other_records_reject_invalid_values() -> None:
    with pytest.raises(ConfigError, match="grouped or stratified, got 'random'"):
        SplitPlan("random")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="std must be positive"):
        Preprocessing(std=(0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"y_true": np.array([0, 1])}, r"expected y_true of shape \(3,\), got \(2,\)"),
        ({"y_true": np.array([0, 1, 2])}, "y_true must be between 0 and 1"),
        ({"y_score": np.full((3, 2), 0.7)}, "must sum to 1"),
        ({"y_score": np.full((3, 2), np.nan)}, "not finite"),
        ({"samples": ("a", "a", "b")}, "appears twice"),
        ({"class_names": ("Normal", "Normal")}, "different names"),
        ({"splits": ("val",)}, "one split per sample, got 1 for 3"),
    ],
)
def test_predictions_reject_inconsistent_fields(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_predictions(**changes)


def test_take_selects_whole_rows() -> None:
    test = make_predictions(groups=np.array([7, 8, 9])).take("test")
    assert test.samples == ("b", "c")
    assert test.y_true.tolist() == [1, 0]
    assert test.y_pred.tolist() == [1, 1]
    assert test.groups is not None
    assert test.groups.tolist() == [8, 9]
    with pytest.raises(
        ConfigError, match="no predictions for the split 'train'; there are test, val"
    ):
        make_predictions().take("train")


def test_display_names_and_predicted_class() -> None:
    assert display_name("Lung_Opacity") == "Lung opacity"
    assert display_name("COVID") == "COVID-19"
    assert CasePrediction("m", {"Normal": 0.2, "COVID": 0.8}).predicted == "COVID"


def test_every_setting_has_a_unique_title_and_a_help_text() -> None:
    settings = [
        f
        for f in (*dataclasses.fields(Recipe), *dataclasses.fields(Augmentation))
        if f.name not in ("name", "augmentation")
    ]
    titles = [f.metadata["title"] for f in settings]
    assert len(set(titles)) == len(titles)
    assert all(f.metadata["help"].endswith(".") for f in settings)
    assert set(STUDY_SETTINGS) <= {f.name for f in settings}
