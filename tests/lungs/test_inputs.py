"""The inputs of lung-only models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.pixels import decode
from covidxr.images.reading import read_image
from covidxr.lungs.inputs import input_pixels, lung_masks
from covidxr.prediction.loading import load_classifier, load_segmenter

pytestmark = pytest.mark.slow


def test_inputs_in_use_are_identical_to_those_in_training(
    lungs_folder: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(lungs_folder))
    model = load_classifier("lungs-cnn")
    assert model.segmenter is not None
    dataset = open_dataset(phantoms)
    pixels = input_pixels(model.card.preprocessing, model.segmenter, dataset)
    whole = decode(dataset, model.card.preprocessing.image_size)
    for file in [sample.file for sample in dataset.samples][::20]:
        image = read_image(dataset.read(file), file)
        view = model.view(image)
        (row,) = pixels.rows([file])
        assert np.array_equal(view.pixels, pixels.array[row])
        assert not np.array_equal(view.pixels, whole.array[row])
        assert np.array_equal(
            lung_masks(dataset, [file], load_segmenter())[0], model.segmenter.mask(image)
        )
