from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from covidxr.data.phantom import render_phantom
from covidxr.explanation import attribution as room
from covidxr.explanation.attribution import grad_cam
from covidxr.models import store
from covidxr.models.architectures import ARCHITECTURES, Architecture
from covidxr.models.store import LoadedModel
from covidxr.records import Preprocessing


class OneConv(nn.Module):
    """Two maps: the input's first channel, and its negative; the mean of each is weighted by the head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).view(2, 3, 1, 1))
            self.head.weight.copy_(torch.tensor([[3.0, 1.0], [-2.0, 0.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def test_grad_cam_by_hand() -> None:
    """The gradient of class 0 with respect to the maps is (3, 1) / 16 everywhere, so the map is relu((3 - 1) x / 16) = x / 8."""
    x = torch.zeros(1, 3, 4, 4)
    x[0, 0] = torch.tensor([[0.0, 1, 2, 3], [0, 0, 0, 0], [-4, -8, 0, 0], [0, 0, 0, 16]])
    network = OneConv().eval()
    heat = room._layer_map(network, network.conv, x, 0)
    assert torch.allclose(heat[0, 0], x[0, 0].clamp(min=0) / 8)
    # class 1: the weights are (-2, 0) / 16, so only where x is negative does anything speak for it
    assert torch.allclose(room._layer_map(network, network.conv, x, 1)[0, 0], (-x[0, 0]).clamp(min=0) / 8)


@pytest.fixture
def one_conv(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """A model whose heat map can be worked out by hand: mean 0 and std 1 leave the pixels as they are."""
    row = Architecture("one_conv", lambda classes: OneConv(), "conv", "head.", (), (32, 1024))
    monkeypatch.setitem(ARCHITECTURES, "one_conv", row)
    card = store.read_card(phantom_model_folder / "phantom-cnn")
    plain = Preprocessing(image_size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    card = replace(card, architecture="one_conv", preprocessing=plain, class_names=("yes", "no"))
    return LoadedModel(card, OneConv().eval())


def test_the_map_lies_where_the_reason_is(one_conv: LoadedModel) -> None:
    pixels = np.zeros((32, 32), dtype=np.uint8)
    pixels[4:8, 20:28] = 255
    pixels[20:24, 4:8] = 51
    result = grad_cam(one_conv, pixels, 0)
    assert np.allclose(result.heat, pixels / 255, atol=1e-6)
    assert (result.method, result.target, result.native_grid) == ("grad-cam", "yes", (32, 32))


def test_a_map_of_nothing_is_zero_and_finite(one_conv: LoadedModel) -> None:
    heat = grad_cam(one_conv, np.zeros((32, 32), dtype=np.uint8), 0).heat
    assert np.isfinite(heat).all()
    assert (heat == 0).all()


def test_a_real_network_gives_a_map_of_its_input_s_size(phantom_model_folder: Path) -> None:
    model = store.load_model(phantom_model_folder / "phantom-cnn")
    state = {k: v.clone() for k, v in model.network.state_dict().items()}
    pixels = render_phantom("Lung_Opacity", np.random.default_rng(0), 128)[0]
    results = [grad_cam(model, pixels, target) for target in range(4)]
    for result in results:
        assert result.heat.shape == (128, 128)
        assert result.native_grid == (11, 11)
        assert 0 <= result.heat.min() <= result.heat.max() <= 1
    assert any(r.heat.max() == 1 for r in results)
    assert all(torch.equal(v, state[k]) for k, v in model.network.state_dict().items())
    assert not model.network.training


def test_many_sessions_at_once_get_the_serial_answers(phantom_model_folder: Path) -> None:
    model = store.load_model(phantom_model_folder / "phantom-cnn")
    pictures = [render_phantom("COVID", np.random.default_rng(i), 128)[0] for i in range(6)]
    serial = [grad_cam(model, p, 1).heat for p in pictures]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(4):
            together = list(pool.map(lambda p: grad_cam(model, p, 1).heat, pictures))
            assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(serial, together, strict=True))


def test_explaining_holds_the_lock(one_conv: LoadedModel) -> None:
    done = threading.Event()

    def explain() -> None:
        grad_cam(one_conv, np.zeros((32, 32), dtype=np.uint8), 0)
        done.set()

    with one_conv.lock:
        thread = threading.Thread(target=explain)
        thread.start()
        assert not done.wait(0.3)
    thread.join(10)
    assert done.is_set()
