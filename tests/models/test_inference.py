"""Scores and features of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from covidxr.models.architectures import ARCHITECTURES, build_network
from covidxr.models.inference import predict_scores, scores_and_features
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
