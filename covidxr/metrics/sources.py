"""Accuracy of a model by image source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from covidxr.metrics.intervals import proportion_interval
from covidxr.records import Interval, Labels, Predictions


@dataclass(frozen=True, slots=True)
class SourceMetrics:
    """Metrics on the samples of one source; classes without samples are absent."""

    n: int
    accuracy: Interval
    support: dict[str, int]
    """Number of samples by class."""
    sensitivity: dict[str, Interval]


def metrics_by_source(
    predictions: Predictions, groups: Labels | None = None
) -> dict[str, SourceMetrics]:
    """Compute accuracy and sensitivity by source, with the intervals of `proportion_interval`.

    Args:
        predictions: N samples of one model.
        groups: (N,) ids shared by dependent samples; None takes samples as independent.

    Returns:
        By source, sorted by name; empty where the predictions have no sources.
    """
    correct, found = predictions.y_pred == predictions.y_true, {}
    sources = np.array(predictions.sources or ())
    for source in np.unique(sources).tolist():
        own = sources == source
        masks = {None: own} | {
            name: own & (predictions.y_true == k) for k, name in enumerate(predictions.class_names)
        }
        intervals = {
            name: proportion_interval(correct[m], None if groups is None else groups[m])
            for name, m in masks.items()
        }
        accuracy = intervals.pop(None)
        # A listed source has at least one sample.
        assert accuracy is not None
        support = {name: int(m.sum()) for name, m in masks.items() if name is not None and m.any()}
        sensitivity = {
            name: interval
            for name, interval in intervals.items()
            if name is not None and interval is not None
        }
        found[source] = SourceMetrics(int(own.sum()), accuracy, support, sensitivity)
    return found
