from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from covidxr.cards import MapSettings
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.phantoms import render_phantom
from covidxr.errors import Cancelled
from covidxr.explanation import attribution as room
from covidxr.explanation.attribution import attribute, attribute_batch, place_on_square
from covidxr.explanation.settings import candidates
from covidxr.images.reading import read_image
from covidxr.models import store
from covidxr.models.architectures import ARCHITECTURES, Architecture
from covidxr.models.classifier import Classifier
from covidxr.prediction.loading import load_classifier
from covidxr.records import Preprocessing

PLAIN = Preprocessing(image_size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Scales gray values to [0, 1] and nothing else."""
ONE_OF_EACH = [
    MapSettings("gradcam", "conv"),
    MapSettings("hirescam", "conv"),
    MapSettings("integrated-gradients"),
    MapSettings("occlusion", window=0.5),
    MapSettings("gradient-shap"),
]
LOGIT = MapSettings("gradcam", "conv", "logit")


class OneConv(nn.Module):
    """Two feature maps, the first channel and its negative; the head weights their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).view(2, 3, 1, 1))
            self.head.weight.copy_(torch.tensor([[3.0, 1.0], [-2.0, 0.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Placed(nn.Module):
    """One feature map, the first channel; each of 4 x 4 positions has its weight for class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        self.head = nn.Linear(16, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
            self.head.weight.copy_(torch.stack([torch.zeros(16), torch.arange(16.0) - 5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).flatten(1))  # type: ignore[no-any-return]


def maps_of(
    network: nn.Module, pixels: np.ndarray, target: int, settings: MapSettings
) -> np.ndarray:
    maps, _ = attribute_batch(network.eval(), PLAIN, pixels[None], np.array([target]), settings)
    found: np.ndarray = maps[0]
    return found


@pytest.fixture
def hot() -> np.ndarray:
    """4 x 4 pixels, all black but the first, which is white, and one of a fifth of its gray."""
    pixels = np.zeros((4, 4), dtype=np.uint8)
    pixels[0, 0], pixels[3, 2] = 255, 51
    return pixels


def test_grad_cam_by_hand() -> None:
    """Gradients of class 0 are (3, 1) / 16, so the attribution is relu((3 - 1) x / 16) = x / 8."""
    x = torch.zeros(1, 3, 4, 4)
    x[0, 0] = torch.tensor([[0.0, 1, 2, 3], [0, 0, 0, 0], [-4, -8, 0, 0], [0, 0, 0, 16]])
    network = OneConv().eval()
    heat = room.layer_attributions(network, network.conv, x, torch.tensor([0]), LOGIT)
    assert torch.allclose(heat[0, 0], x[0, 0].clamp(min=0) / 8)
    # Class 1: the weights are (-2, 0) / 16, so only negative x is evidence for it.
    assert torch.allclose(
        room.layer_attributions(network, network.conv, x, torch.tensor([1]), LOGIT)[0, 0],
        (-x[0, 0]).clamp(min=0) / 8,
    )


def test_a_contrast_is_explained_by_hand(hot: np.ndarray) -> None:
    """Weights of class 0 minus class 1: (5, 1) / 16, so x / 4; class 1 minus 0: nothing."""
    settings = MapSettings("gradcam", "conv")
    assert np.allclose(maps_of(OneConv(), hot, 0, settings), hot / 255 / 4)
    assert not maps_of(OneConv(), hot, 1, settings).any()


def test_the_contrast_of_the_first_of_several_is_its_log_odds() -> None:
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[2.0, 0.5, -1.0, 3.0]])

    p = torch.softmax(Fixed()(torch.zeros(1)), dim=1)[0]
    found = room._Score(Fixed(), "contrast")(torch.zeros(1, 3, 4, 4))[0]
    assert found.tolist() == pytest.approx(
        [float(torch.log(p[0] / (1 - p[0]))), -1.5, -3.0, 1.0], abs=1e-5
    )


def test_hirescam_weights_each_position_and_grad_cam_all_equally() -> None:
    """The gradients are -5 ... 10, their mean 2.5."""
    pixels = np.full((4, 4), 255, dtype=np.uint8)
    expected = (np.arange(16.0) - 5).reshape(4, 4)
    assert np.allclose(
        maps_of(Placed(), pixels, 1, MapSettings("hirescam", "conv")), np.maximum(expected, 0)
    )
    assert np.allclose(maps_of(Placed(), pixels, 1, MapSettings("gradcam", "conv")), 2.5)


def test_integrated_gradients_by_hand(hot: np.ndarray) -> None:
    """The network is linear: attributions are value times weight and add up to the score."""
    assert np.allclose(
        maps_of(OneConv(), hot, 0, MapSettings("integrated-gradients", score="logit")),
        hot / 255 / 8,
        atol=1e-6,
    )
    assert np.allclose(
        maps_of(OneConv(), hot, 1, MapSettings("integrated-gradients")), -(hot / 255) / 4, atol=1e-6
    )


def test_occlusion_by_hand() -> None:
    """A 2 x 2 patch moves by 1; at the first position it covers the white pixel, 4 / 16."""
    pixels = np.zeros((4, 4), dtype=np.uint8)
    pixels[0, 0] = 255
    expected = np.zeros((4, 4))
    expected[:2, :2] = [[1 / 4, 1 / 8], [1 / 8, 1 / 16]]  # 1, 2 and 4 places cover these
    settings = MapSettings("occlusion", window=0.5)
    assert np.allclose(maps_of(OneConv(), pixels, 0, settings), expected, atol=1e-6)
    assert np.allclose(maps_of(OneConv(), pixels, 1, settings), -expected, atol=1e-6)
    assert attribute_batch(OneConv().eval(), PLAIN, pixels[None], np.array([0]), settings)[1] == (
        3,
        3,
    )


def test_gradient_shap_by_hand_without_changing_global_generators(
    hot: np.ndarray,
) -> None:
    """The network is linear: weight times the difference from the mean gray value drawn."""
    network = OneConv()
    state, seed = (
        np.random.get_state(legacy=False)["state"]["key"].copy(),
        torch.random.get_rng_state(),
    )
    first, again = (maps_of(network, hot, 0, MapSettings("gradient-shap")) for _ in range(2))
    gray = hot[0, 0] / 255 - first[0, 0] * 4
    assert 0.3 < gray < 0.7
    assert np.allclose(first, (hot / 255 - gray) / 4, atol=1e-6)
    assert np.array_equal(first, again)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], state)
    assert torch.equal(torch.random.get_rng_state(), seed)


def test_smoothing_keeps_the_sum_and_drops_the_sign_of_pixel_gradients() -> None:
    raw = np.zeros((1, 32, 32), dtype=np.float32)
    raw[0, 10, 10], raw[0, 20, 20] = 1, -3
    for settings, expected in (
        (MapSettings("occlusion", smoothing=0.05, window=0.25), raw[0]),
        (MapSettings("integrated-gradients", smoothing=0.05), np.abs(raw[0])),
    ):
        found = room.postprocess(raw, settings)
        assert np.allclose(found[0], gaussian_filter(expected, 1.6), atol=1e-6)
        assert found.sum() == pytest.approx(expected.sum(), rel=1e-3)
    assert room.postprocess(raw, MapSettings("hirescam", "conv", smoothing=0.05)).min() == 0


@pytest.mark.parametrize("settings", ONE_OF_EACH, ids=lambda s: s.method)
def test_progress_is_reported_and_the_work_can_be_cancelled(
    settings: MapSettings, one_conv: Classifier
) -> None:
    told: list[tuple[int, int]] = []
    pixels = np.zeros((32, 32), dtype=np.uint8)
    attribute(one_conv, pixels, 0, settings, lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0
    assert len({total for _, total in told}) == 1

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        attribute(one_conv, pixels, 0, settings, stop)
    assert not one_conv.lock.locked()
    attribute(one_conv, pixels, 0, settings)


@pytest.mark.parametrize(
    "settings",
    candidates("poster_cnn"),
    ids=lambda s: "-".join(map(str, (s.method, s.layer, s.score, s.interpolation, s.smoothing))),
)
def test_attributions_do_not_depend_on_the_batch_or_on_reloading(
    settings: MapSettings, phantom_model_folder: Path
) -> None:
    models = [load_classifier("phantom-cnn", phantom_model_folder) for _ in range(2)]
    pixels = np.stack(
        [render_phantom("Lung_Opacity", np.random.default_rng(i), 128)[0] for i in range(3)]
    )
    targets = np.array([3, 0, 1])
    together, grid = attribute_batch(
        models[0].network, models[0].card.preprocessing, pixels, targets, settings
    )
    assert together.dtype == np.float32
    for model in models:
        alone = attribute(model, pixels[1], 0, settings)
        assert alone.native_grid == grid
        scale = np.abs(together[1]).max()
        assert np.allclose(alone.heat * scale, together[1], atol=1e-4 * scale)


@pytest.fixture
def one_conv(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """A model whose attributions can be computed by hand."""
    row = Architecture(
        "one_conv", "", lambda classes: OneConv(), "conv", "conv", "head.", (), (32, 1024)
    )
    monkeypatch.setitem(ARCHITECTURES, "one_conv", row)
    card = store.read_card(phantom_model_folder / "phantom-cnn")
    card = replace(card, architecture="one_conv", preprocessing=PLAIN, class_names=("yes", "no"))
    return Classifier(card, OneConv().eval())


def test_the_attribution_is_where_the_evidence_is(one_conv: Classifier) -> None:
    pixels = np.zeros((32, 32), dtype=np.uint8)
    pixels[4:8, 20:28] = 255
    pixels[20:24, 4:8] = 51
    result = attribute(one_conv, pixels, 0, LOGIT)
    assert np.allclose(result.heat, pixels / 255, atol=1e-6)
    assert (result.method, result.target, result.native_grid) == ("gradcam", "yes", (32, 32))


def test_an_attribution_without_evidence_is_zero_and_finite(one_conv: Classifier) -> None:
    heat = attribute(one_conv, np.zeros((32, 32), dtype=np.uint8), 0, LOGIT).heat
    assert np.isfinite(heat).all()
    assert (heat == 0).all()


def test_an_attribution_has_the_size_of_the_input(phantom_model_folder: Path) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    state = {k: v.clone() for k, v in model.network.state_dict().items()}
    pixels = render_phantom("Lung_Opacity", np.random.default_rng(0), 128)[0]
    results = [
        attribute(model, pixels, target, MapSettings("gradcam", "relu2", "logit"))
        for target in range(4)
    ]
    for result in results:
        assert result.heat.shape == (128, 128)
        assert result.native_grid == (11, 11)
        assert 0 <= result.heat.min() <= result.heat.max() <= 1
    assert any(r.heat.max() == 1 for r in results)
    assert all(torch.equal(v, state[k]) for k, v in model.network.state_dict().items())
    assert not model.network.training


@pytest.mark.parametrize(
    "settings",
    [MapSettings("gradcam", "relu2"), MapSettings("gradient-shap")],
    ids=["gradcam", "gradient-shap"],
)
def test_concurrent_sessions_get_the_serial_results(
    settings: MapSettings, phantom_model_folder: Path
) -> None:
    model = load_classifier("phantom-cnn", phantom_model_folder)
    images = [render_phantom("COVID", np.random.default_rng(i), 128)[0] for i in range(6)]
    serial = [attribute(model, p, 1, settings).heat for p in images]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(2):
            together = list(pool.map(lambda p: attribute(model, p, 1, settings).heat, images))
            assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(serial, together, strict=True))


def test_attribution_holds_the_lock(one_conv: Classifier) -> None:
    done = threading.Event()

    def explain() -> None:
        attribute(one_conv, np.zeros((32, 32), dtype=np.uint8), 0, LOGIT)
        done.set()

    with one_conv.lock:
        thread = threading.Thread(target=explain)
        thread.start()
        assert not done.wait(0.3)
    thread.join(10)
    assert done.is_set()


@pytest.mark.slow
def test_an_attribution_of_the_lungs_is_placed_at_the_lungs(
    lungs_folder: Path, phantoms: Path
) -> None:
    model = load_classifier("lungs-cnn", lungs_folder)
    file = open_dataset(phantoms).samples[0].file
    view = model.view(read_image((phantoms / file).read_bytes(), file))
    whole = place_on_square(np.ones((128, 128), dtype=np.float32), view.box)
    left, top, right, bottom = (round(edge * 128) for edge in view.box)
    assert (whole[top:bottom, left:right] == 1).all()
    assert whole.sum() == (bottom - top) * (right - left)
