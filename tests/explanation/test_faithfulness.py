"""Faithfulness of attributions, on networks with known results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from covidxr.cards import MapSettings
from covidxr.datasets.phantoms import render_phantom
from covidxr.explanation import faithfulness as room
from covidxr.explanation.attribution import attribute_batch
from covidxr.models import store
from covidxr.models.architectures import ARCHITECTURES, Architecture
from covidxr.models.classifier import Classifier
from covidxr.prediction.loading import load_classifier
from covidxr.records import Preprocessing

SETTINGS = MapSettings("integrated-gradients", score="logit")


class Corner(nn.Module):
    """The score of class 0 is 20 times the mean of the upper left quarter; that of class 1 is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.scale.weight, 20.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        score = self.scale(x[:, 0, :half, :half].mean(dim=(1, 2))[:, None])
        return torch.cat([score, torch.zeros_like(score)], dim=1)


@pytest.fixture
def corner(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    row = Architecture(
        "corner", "", lambda classes: Corner(), "scale", "scale", "scale.", (), (32, 1024)
    )
    monkeypatch.setitem(ARCHITECTURES, "corner", row)
    card = store.read_card(phantom_model_folder / "phantom-cnn")
    plain = Preprocessing(image_size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    names = ("yes", "no")
    return Classifier(
        replace(
            card, architecture="corner", preprocessing=plain, class_names=names, temperature=1.0
        ),
        Corner().eval(),
    )


def test_curves_of_a_faithful_and_an_unfaithful_attribution(corner: Classifier) -> None:
    """A white image is class 0; only the upper left quarter matters."""
    pixels = np.full((2, 32, 32), 255, dtype=np.uint8)
    true = np.zeros((32, 32), dtype=np.float32)
    true[:16, :16] = 1
    deletion, insertion = room.probability_curves(
        corner, pixels, np.array([0, 0]), np.stack([true, -true])
    )
    assert deletion.shape == insertion.shape == (2, 21)
    assert deletion[:, 0] == pytest.approx([1, 1], abs=1e-6)
    assert deletion[:, -1] == pytest.approx([0.5, 0.5])
    # After 5 of 20 steps the quarter is gone.
    assert deletion[0, 5:] == pytest.approx(np.full(16, 0.5))
    assert deletion[1, :16] == pytest.approx(np.ones(16), abs=1e-6)  # the false map takes it last
    # A white image blurred is a white image.
    assert insertion == pytest.approx(np.ones((2, 21)), abs=1e-6)


def test_only_an_unfaithful_attribution_has_infidelity(
    corner: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    # Dark, where the probability is nearly linear.
    pixels = random.integers(0, 30, (3, 32, 32)).astype(np.uint8)
    targets = np.zeros(3, dtype=np.int64)
    true, sensitive = room.infidelity_and_sensitivity(corner, pixels, targets, SETTINGS)
    assert true.shape == sensitive.shape == (3,)
    assert (sensitive > 0).all()
    again = room.infidelity_and_sensitivity(corner, pixels, targets, SETTINGS)
    assert np.array_equal(true, again[0])
    assert np.array_equal(sensitive, again[1])

    def rotated(*arguments: object) -> tuple[np.ndarray, tuple[int, int]]:
        maps, grid = attribute_batch(*arguments)  # type: ignore[arg-type]
        return maps[:, ::-1, ::-1].copy(), grid

    monkeypatch.setattr(room, "attribute_batch", rotated)
    false, _ = room.infidelity_and_sensitivity(corner, pixels, targets, SETTINGS)
    assert (true < 0.2 * false).all()


def test_the_cascade_starts_at_the_head_and_does_not_change_the_model(
    phantom_model_folder: Path,
) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    state = {k: v.clone() for k, v in model.network.state_dict().items()}
    pixels = np.stack([render_phantom("COVID", np.random.default_rng(i), 128)[0] for i in range(2)])
    steps = room.cascade(model, pixels, np.array([1, 1]), MapSettings("hirescam", "relu2"))
    assert [step.layer for step in steps] == ["fc3", "fc2", "fc1", "conv2", "conv1"]
    assert all(-1 <= step.correlation <= 1 and -1 <= step.similarity <= 1 for step in steps)
    assert min(step.correlation for step in steps) < 0.9
    assert all(torch.equal(v, state[k]) for k, v in model.network.state_dict().items())
    assert steps == room.cascade(model, pixels, np.array([1, 1]), MapSettings("hirescam", "relu2"))


def test_an_attribution_independent_of_the_network_is_detected(
    phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    pixels = np.stack([render_phantom("COVID", np.random.default_rng(0), 128)[0]])
    monkeypatch.setattr(
        room, "attribute_batch", lambda *arguments: (arguments[2] / 255.0, (128, 128))
    )
    steps = room.cascade(model, pixels, np.array([1]), SETTINGS)
    assert all(
        step.correlation == pytest.approx(1) and step.similarity == pytest.approx(1)
        for step in steps
    )


def test_the_stages_of_a_resnet_contain_all_weights_head_first() -> None:
    network = ARCHITECTURES["resnet18"].build(4)
    found = room.stages(network, "resnet18")
    assert [name for name, _ in found] == ["fc", "layer4", "layer3", "layer2", "layer1", "conv1"]
    held = [id(p) for _, modules in found for module in modules for p in module.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
