"""How a model fares on the pictures of each source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from covidxr.metrics.intervals import proportion_interval
from covidxr.records import Interval, Labels, Predictions


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One source: how many of its samples were called right, in all and by class; classes that it does not hold are absent."""

    n: int
    accuracy: Interval
    support: dict[str, int]
    sensitivity: dict[str, Interval]


def figures_by_source(
    predictions: Predictions, groups: Labels | None = None
) -> dict[str, SourceFigures]:
    """Return the figures by source, in the order of their names; none where the predictions name no sources.

    groups: (N,) ids of samples that are not independent, or None; intervals as in `proportion_interval`.
    """
    right, found = predictions.y_pred == predictions.y_true, {}
    sources = np.array(predictions.sources or ())
    for source in np.unique(sources).tolist():
        own = sources == source
        shares = {None: own} | {
            name: own & (predictions.y_true == k) for k, name in enumerate(predictions.class_names)
        }
        intervals = {
            name: proportion_interval(right[m], None if groups is None else groups[m])
            for name, m in shares.items()
        }
        accuracy = intervals.pop(None)
        assert accuracy is not None  # a source that is listed has a sample
        support = {name: int(m.sum()) for name, m in shares.items() if name is not None and m.any()}
        sensitivity = {
            name: interval
            for name, interval in intervals.items()
            if name is not None and interval is not None
        }
        found[source] = SourceFigures(int(own.sum()), accuracy, support, sensitivity)
    return found
