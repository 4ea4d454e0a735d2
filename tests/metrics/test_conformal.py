"""Prediction sets against hand-worked values, and those of the shipped models."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covidxr.errors import ConfigError
from covidxr.metrics.calibration import apply_temperature
from covidxr.metrics.conformal import evaluate_sets, make_sets, set_thresholds
from covidxr.models import store
from covidxr.models.recipes import RECIPES
from covidxr.records import Predictions

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


def two(*first: float) -> np.ndarray:
    """Probabilities of two classes, from that of the first."""
    return np.array([[p, 1 - p] for p in first])


@pytest.mark.parametrize(
    ("n", "k"), [(8, 0), (9, 1), (18, 1), (19, 2), (29, 3), (69, 7), (99, 10), (100, 10)]
)
def test_the_threshold_is_the_kth_smallest_probability_of_the_own_class(n: int, k: int) -> None:
    """k is a tenth of n + 1, rounded down; with too few samples the class is in every set."""
    own = np.arange(1, n + 1) / 1000
    # The last sample is of the other class and must not count.
    y_score = two(*own[::-1], 0.0005)
    y_true = np.array([0] * n + [1])
    assert set_thresholds(y_true, y_score).tolist() == [own[k - 1] if k else 0.0, 0.0]


def test_sets_may_be_empty_and_include_a_class_at_its_threshold() -> None:
    sets = make_sets(two(0.5, 0.7, 0.9, 0.2), np.array([0.6, 0.3]))
    assert sets.tolist() == [[False, True], [True, True], [True, False], [False, True]]
    assert make_sets(two(0.5), np.array([0.6, 0.6])).tolist() == [[False, False]]
    assert make_sets(two(0.25), np.array([0.25, 0.8])).tolist() == [[True, False]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 120))
def test_nine_in_ten_exchangeable_samples_are_covered_for_any_scores(seed: int, n: int) -> None:
    """Each of n + 1 samples is held out in turn; sets from the others cover at least 90%."""
    # With ties.
    p = np.random.default_rng(seed).choice([0.1, 0.3, 0.35, 0.8, 0.99], n + 1)
    y_true, y_score = np.zeros(n + 1, dtype=np.int64), two(*p)
    covered = 0
    for i in range(n + 1):
        thresholds = set_thresholds(np.delete(y_true, i), np.delete(y_score, i, axis=0))
        covered += make_sets(y_score[[i]], thresholds)[0, 0]
    assert covered >= math.ceil(round(0.9 * (n + 1), 9))


def test_coverage_of_a_small_example_by_hand() -> None:
    # Thresholds 0.52 and 0.52.
    val = [*two(*(i / 100 for i in range(51, 70))), *two(*(i / 100 for i in range(31, 50)))]
    test = two(0.9, 0.5, 0.3, 0.1)
    n = len(val) + len(test)
    p = Predictions(
        ("a", "b"),
        tuple(map(str, range(n))),
        ("val",) * len(val) + ("test",) * len(test),
        np.array([0] * 19 + [1] * 19 + [0, 0, 0, 1]),
        np.array([*val, *test]),
    )
    sets = evaluate_sets(p, 1.0)
    assert sets.thresholds == pytest.approx({"a": 0.52, "b": 0.52})
    overall = sets.overall
    assert (overall.n, overall.covered.estimate, overall.size.estimate) == (4, 0.5, 0.75)
    # 0.9 is covered, 0.5 has an empty set, 0.3 the other class.
    assert sets.by_class["a"].covered.estimate == pytest.approx(1 / 3)
    assert sets.by_class["a"].empty.estimate == pytest.approx(1 / 3)
    assert sets.by_class["b"].covered.estimate == 1


def test_missing_test_samples_and_wrong_shapes_are_rejected() -> None:
    p = Predictions(("a", "b"), ("x",), ("val",), np.array([0]), two(0.9))
    with pytest.raises(ConfigError):
        evaluate_sets(p, 1.0)
    with pytest.raises(ConfigError, match="expected y_true"):
        set_thresholds(np.array([0, 1]), two(0.9))


@pytest.mark.parametrize("model_id", RECIPES)
def test_shipped_models_cover_validation_samples_and_state_their_coverage_on_test(
    model_id: str,
) -> None:
    card = store.read_card(WEIGHTS / model_id)
    predictions = store.read_predictions(WEIGHTS / model_id)
    assert card.prediction_sets == evaluate_sets(predictions, card.temperature)
    val, test = predictions.take("val"), predictions.take("test")
    for k, name in enumerate(card.class_names):
        threshold = card.prediction_sets.thresholds[name]
        stated = card.prediction_sets.by_class[name].covered.estimate
        on_val, on_test = (
            apply_temperature(p.y_score, card.temperature)[p.y_true == k, k] >= threshold
            for p in (val, test)
        )
        assert 0.9 <= on_val.mean() < 0.9 + 2 / len(on_val)
        assert stated == pytest.approx(on_test.mean())
        assert abs(stated - 0.9) < 0.08
