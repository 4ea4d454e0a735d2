"""A classifier on single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from covidxr.errors import ImageError
from covidxr.images.radiograph import fit_to_square
from covidxr.lungs.segmenter import LungSegmenter
from covidxr.models.inference import predict_scores
from covidxr.prediction.cases import sample_phantom
from covidxr.prediction.loading import load_classifier


@pytest.mark.usefixtures("phantom_models")
def test_a_case_is_predicted_as_in_a_batch_and_calibrated() -> None:
    model = load_classifier("phantom-cnn")
    image = sample_phantom("COVID", 3)
    case = model.predict(image)
    pixels = fit_to_square(image, 128)[None]
    expected = predict_scores(
        model.network, pixels, np.array([0]), model.card.preprocessing, model.card.temperature
    )[0]
    assert list(case.probabilities.values()) == pytest.approx(expected.tolist())
    assert tuple(case.probabilities) == model.card.class_names


@pytest.mark.slow
def test_an_image_without_lungs_is_rejected(
    lungs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_classifier("lungs-cnn", lungs_folder)
    monkeypatch.setattr(LungSegmenter, "mask", lambda *_: np.zeros((256, 256), dtype=bool))
    with pytest.raises(ImageError, match="no lungs were found"):
        model.predict(np.zeros((200, 200), dtype=np.uint8))
