"""Predictions of a model on the splits of a dataset."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from covidxr.datasets.splits import SplitData
from covidxr.lungs.inputs import input_pixels
from covidxr.models.classifier import Classifier
from covidxr.records import Predictions


def predict_splits(model: Classifier, data: SplitData, splits: Iterable[str]) -> Predictions:
    """Predict the samples of some splits, without temperature scaling.

    Args:
        model: The classifier.
        data: Its dataset, split.
        splits: Names of the splits.

    Returns:
        Predictions with groups if the split keeps groups together, and with sources if known.
    """
    split = data.split
    positions = np.concatenate([split.rows(name) for name in splits])
    files = [split.files[i] for i in positions]
    pixels = input_pixels(
        model.card.preprocessing, model.segmenter, data.dataset, skip_unreadable=True
    )
    source_of = {sample.file: sample.source for sample in data.dataset.samples}
    sources = tuple(source_of[file] or "unknown" for file in files)
    groups = split.bound_groups
    return Predictions(
        class_names=data.dataset.class_names,
        samples=tuple(files),
        splits=tuple(str(name) for name in split.names[positions]),
        y_true=split.labels[positions],
        y_score=model.scores(
            pixels.array, pixels.rows(files), temperature=1.0, progress="predicting"
        ),
        groups=None if groups is None else groups[positions],
        sources=sources if any(source_of.values()) else None,
    )
