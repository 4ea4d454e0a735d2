"""Concurrent sessions that share one model."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from covidxr.models.classifier import Classifier
from covidxr.prediction.cases import explain, sample_phantom, stability
from covidxr.prediction.loading import load_classifier
from covidxr.records import CLASS_NAMES, GrayImage

pytestmark = pytest.mark.usefixtures("phantom_models")

SESSIONS, SECONDS = 8, 10
METHODS = ("gradcam", "hirescam", "integrated-gradients")


def results(model: Classifier, image: GrayImage, method: str) -> tuple[object, ...]:
    case = model.predict(image)
    versions = stability(model, image)
    heat = explain(model, image, case.predicted, method).heat
    return dict(case.probabilities), case.rejections, versions, heat.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("model_id", ["phantom-cnn", "lungs-cnn"])
def test_concurrent_sessions_have_the_results_of_single_ones(
    model_id: str, lungs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(lungs_folder))
    model = load_classifier(model_id)
    noise = np.random.default_rng(0).integers(0, 256, (80, 90), dtype=np.uint8)
    images = [sample_phantom(name, seed) for seed in range(2) for name in CLASS_NAMES] + [noise]
    cases = [(image, method) for image in images for method in METHODS]
    alone = [results(model, *case) for case in cases]
    deadline = time.monotonic() + SECONDS

    def session(number: int) -> int:
        done = 0
        while time.monotonic() < deadline:
            i = (number * 7 + done) % len(cases)
            assert results(model, *cases[i]) == alone[i]
            done += 1
        return done

    with ThreadPoolExecutor(SESSIONS) as pool:
        assert min(pool.map(session, range(SESSIONS))) > 0
