"""Predictions of a model on the splits of a dataset."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from covidxr.datasets.splits import SplitData
from covidxr.lungs.inputs import input_pixels
from covidxr.models.classifier import Classifier
from covidxr.records import Predictions


def predict_splits(model: Classifier, data: SplitData, splits: Iterable[str]) -> Predictions:
    """Return a network's probabilities of the named splits' samples; the network must be in eval mode."""
    split = data.split
    positions = np.concatenate([split.rows(name) for name in splits])
    files = [split.files[i] for i in positions]
    pixels = input_pixels(
        model.card.preprocessing, model.segmenter, data.dataset, skip_unreadable=True
    )
    scores = model.scores(pixels.array, pixels.rows(files), temperature=1.0, progress="predicting")
    names = tuple(str(name) for name in split.names[positions])
    source_of = {sample.file: sample.source for sample in data.dataset.samples}
    sources = (
        tuple(source_of[file] or "unknown" for file in files) if any(source_of.values()) else None
    )
    labels, groups = (
        split.labels[positions],
        None if split.bound_groups is None else split.bound_groups[positions],
    )
    return Predictions(
        data.dataset.class_names, tuple(files), names, labels, scores, groups, sources
    )
