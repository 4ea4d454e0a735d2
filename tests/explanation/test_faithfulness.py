"""Heat maps put to the test, on networks whose answers are known."""

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
    """The score of class 0 is the mean of the upper left quarter of the first channel, times 20; that of class 1 is 0."""

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


def test_the_curves_of_a_true_map_and_of_a_false_one(corner: Classifier) -> None:
    """A white picture is class 0 for certain. The first quarter of the pixels is all that counts, if the map knows it."""
    pixels = np.full((2, 32, 32), 255, dtype=np.uint8)
    true = np.zeros((32, 32), dtype=np.float32)
    true[:16, :16] = 1
    deletion, insertion = room.probability_curves(
        corner, pixels, np.array([0, 0]), np.stack([true, -true])
    )
    assert deletion.shape == insertion.shape == (2, 21)
    assert deletion[:, 0] == pytest.approx([1, 1], abs=1e-6)
    assert deletion[:, -1] == pytest.approx([0.5, 0.5])
    assert deletion[0, 5:] == pytest.approx(
        np.full(16, 0.5)
    )  # after 5 of 20 steps the quarter is gone
    assert deletion[1, :16] == pytest.approx(np.ones(16), abs=1e-6)  # the false map takes it last
    assert insertion == pytest.approx(
        np.ones((2, 21)), abs=1e-6
    )  # a white picture blurred is a white picture


def test_a_true_map_has_no_infidelity_and_a_false_one_has(
    corner: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 30, (3, 32, 32)).astype(
        np.uint8
    )  # dark, where the probability is nearly linear
    targets = np.zeros(3, dtype=np.int64)
    true, sensitive = room.infidelity_and_sensitivity(corner, pixels, targets, SETTINGS)
    assert true.shape == sensitive.shape == (3,)
    assert (sensitive > 0).all()
    again = room.infidelity_and_sensitivity(corner, pixels, targets, SETTINGS)
    assert np.array_equal(true, again[0])
    assert np.array_equal(sensitive, again[1])

    def turned(*arguments: object) -> tuple[np.ndarray, tuple[int, int]]:
        maps, grid = attribute_batch(*arguments)  # type: ignore[arg-type]
        return maps[:, ::-1, ::-1].copy(), grid

    monkeypatch.setattr(room, "attribute_batch", turned)
    false, _ = room.infidelity_and_sensitivity(corner, pixels, targets, SETTINGS)
    assert (true < 0.2 * false).all()


def test_the_cascade_begins_at_the_head_and_leaves_the_model_alone(
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


def test_a_map_that_ignores_the_network_is_found_out(
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


def test_the_stages_of_a_resnet_are_all_its_weights_head_first() -> None:
    network = ARCHITECTURES["resnet18"].build(4)
    found = room.stages(network, "resnet18")
    assert [name for name, _ in found] == ["fc", "layer4", "layer3", "layer2", "layer1", "conv1"]
    held = [id(p) for _, modules in found for module in modules for p in module.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
