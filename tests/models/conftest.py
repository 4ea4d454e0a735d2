"""Data that a network is trained on in a second."""

from __future__ import annotations

import numpy as np
import pytest

from covidxr.datasets.phantoms import render_phantom
from covidxr.models.training import TrainingData
from covidxr.records import CLASS_NAMES


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """Phantoms of two easy classes, 100 px: 96 train, 32 val."""
    labels = np.arange(128) % 2
    pixels = np.stack(
        [
            render_phantom(CLASS_NAMES[3 * y], np.random.default_rng(i), 100)[0]
            for i, y in enumerate(labels)
        ]
    )
    return TrainingData(
        pixels, labels, np.arange(96), np.arange(96, 128), ("Normal", "Lung_Opacity")
    )
