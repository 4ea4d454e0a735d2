"""Metrics by source, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from covidxr.metrics.intervals import wilson_interval
from covidxr.metrics.sources import metrics_by_source
from covidxr.records import Predictions

SCORES = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
PREDICTIONS = Predictions(
    ("Normal", "COVID"),
    tuple("abcde"),
    ("test",) * 5,
    np.array([0, 0, 1, 1, 1]),
    SCORES,
    None,
    ("x", "x", "x", "y", "y"),
)


def test_sources_are_evaluated_separately() -> None:
    found = metrics_by_source(PREDICTIONS)
    assert list(found) == ["x", "y"]
    assert found["x"].n == 3
    assert found["x"].accuracy == wilson_interval(2, 3)
    assert found["x"].support == {"Normal": 2, "COVID": 1}
    assert found["x"].sensitivity == {
        "Normal": wilson_interval(1, 2),
        "COVID": wilson_interval(1, 1),
    }
    assert found["y"].accuracy == wilson_interval(1, 2)
    assert list(found["y"].sensitivity) == ["COVID"]


def test_samples_of_one_group_are_not_more_evidence() -> None:
    grouped = metrics_by_source(PREDICTIONS, np.array([0, 0, 0, 1, 1]))
    alone = metrics_by_source(PREDICTIONS)
    assert grouped["x"].accuracy.estimate == alone["x"].accuracy.estimate
    width = [figures["x"].accuracy.high - figures["x"].accuracy.low for figures in (grouped, alone)]
    assert width[0] > width[1]


def test_without_sources_there_are_no_metrics() -> None:
    assert metrics_by_source(replace(PREDICTIONS, sources=None)) == {}
