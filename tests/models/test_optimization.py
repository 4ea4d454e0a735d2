"""Optimizers and frozen stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from covidxr.models import training
from covidxr.models.architectures import build_network
from covidxr.models.recipes import recipe
from covidxr.models.training import TrainingData
from tests.models.test_training import run, small


@pytest.mark.slow
def test_frozen_stages_keep_weights_and_statistics(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiny = TrainingData(
        rng.integers(0, 256, (24, 32, 32)).astype(np.uint8),
        np.arange(24) % 2,
        np.arange(16),
        np.arange(16, 24),
        ("a", "b"),
    )
    chosen = recipe("poster-resnet18-scratch").override(
        image_size=32, epochs=1, batch_size=8, frozen_stages=2, learning_rate=1e-2
    )
    torch.manual_seed(chosen.seed)
    start = build_network("resnet18", 2, 32).state_dict()
    fitted, _ = run(chosen, tiny, tmp_path)
    for key, value in fitted.weights.items():
        same = torch.equal(value, start[key])
        assert same == key.startswith(("conv1", "bn1", "layer1")), key


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_the_first_step_equals_a_plain_optimizer_step(
    data: TrainingData, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, since Adam's first step is little more than a sign."""
    monkeypatch.setattr(training, "has_fast_bfloat16", lambda: False)
    chosen = small(optimizer=kind, learning_rate=1e-2, weight_decay=0.1).override(
        epochs=1, batch_size=96
    )
    fitted, _ = run(chosen, data, tmp_path)
    torch.manual_seed(chosen.seed)
    network = build_network("poster_cnn", 2, 100)
    matrices, vectors = (
        [p for p in network.parameters() if p.ndim > 1],
        [p for p in network.parameters() if p.ndim == 1],
    )
    optimizer: torch.optim.Optimizer
    if kind == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.9, weight_decay=0.1)
    elif kind == "adam":
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=0.1)
    else:
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}],
            lr=1e-2,
        )
    gray = torch.from_numpy(data.pixels[:96]).float()[:, None] / 255
    x = (gray - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.nn.functional.nll_loss(network(x), torch.from_numpy(data.labels[:96])).backward()
    optimizer.step()
    for key, value in network.state_dict().items():
        assert torch.allclose(value, fitted.weights[key], atol=2e-4), key
