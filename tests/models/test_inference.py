"""Scores and features of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from covidxr.datasets.phantoms import render_phantom
from covidxr.models.architectures import ARCHITECTURES, build_network
from covidxr.models.inference import predict_scores, scores_and_features
from covidxr.prediction.loading import load_classifier
from covidxr.records import Preprocessing


@pytest.mark.parametrize(
    ("name", "width"), [("poster_cnn", 50), ("resnet18", 512), ("efficientnet_b0", 1280)]
)
def test_the_head_maps_features_to_scores(name: str, width: int) -> None:
    torch.manual_seed(0)
    network = build_network(name, 4, 128).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 128, 128), dtype=np.uint8)
    rows, preprocessing = np.array([4, 0, 2]), Preprocessing(image_size=128)
    head = ARCHITECTURES[name].head
    _, features = scores_and_features(network, head, pixels, rows, preprocessing)
    assert features.shape == (3, width)
    with torch.inference_mode():
        logits = network.get_submodule(head.rstrip("."))(torch.from_numpy(features).float())
    expected = predict_scores(network, pixels, rows, preprocessing)
    assert np.allclose(torch.softmax(logits, 1).numpy(), expected, atol=1e-6)


def test_the_network_is_not_changed() -> None:
    network = build_network("poster_cnn", 4, 128).eval()
    pixels = np.zeros((1, 128, 128), dtype=np.uint8)
    scores_and_features(network, "fc3.", pixels, np.array([0]), Preprocessing(image_size=128))
    assert not network.get_submodule("fc3")._forward_pre_hooks


def test_scores_do_not_depend_on_the_batch(phantom_model_folder: Path) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    pixels = np.stack([render_phantom("COVID", np.random.default_rng(i), 128)[0] for i in range(5)])
    together = predict_scores(model.network, pixels, np.arange(5), model.card.preprocessing)
    alone = np.concatenate(
        [
            predict_scores(model.network, pixels, np.array([i]), model.card.preprocessing)
            for i in range(5)
        ]
    )
    assert np.allclose(together, alone, atol=1e-6)
    assert np.allclose(together.sum(axis=1), 1)


def test_temperature_divides_the_logits(phantom_model_folder: Path) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    pixels = render_phantom("COVID", np.random.default_rng(0), 128)[0][None]
    plain = predict_scores(model.network, pixels, np.array([0]), model.card.preprocessing)[0]
    tempered = predict_scores(
        model.network, pixels, np.array([0]), model.card.preprocessing, temperature=2.0
    )[0]
    expected = np.sqrt(plain) / np.sqrt(plain).sum()
    assert np.allclose(tempered, expected, atol=1e-6)


@pytest.mark.slow
def test_one_pass_gives_scores_and_features(phantom_model_folder: Path) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    card, pixels = (
        model.card,
        np.random.default_rng(0).integers(0, 256, (3, 128, 128), dtype=np.uint8),
    )
    rows = np.array([2, 0])
    scores, features = scores_and_features(
        model.network, "fc3.", pixels, rows, card.preprocessing, 1.7
    )
    assert np.array_equal(
        scores, predict_scores(model.network, pixels, rows, card.preprocessing, 1.7)
    )
    assert np.array_equal(features, model.features(pixels, rows))
