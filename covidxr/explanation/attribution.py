"""Attribution with Captum: where in an image the evidence for a class is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import (
    GradientShap,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    LayerGradientXActivation,
    Occlusion,
)
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from covidxr.cards import MapSettings
from covidxr.explanation.settings import LAYER_METHODS
from covidxr.models.classifier import WHOLE, Box, Classifier
from covidxr.models.preprocessing import to_input
from covidxr.records import Attribution, Labels, Preprocessing

Maps = npt.NDArray[np.float32]
"""(B, S, S) attributions, not scaled."""
Watch = Callable[[int, int], None]
"""Receives the number of finished steps and the total; what it raises stops the work."""

AT_ONCE = 16
"""Inputs in one pass through the network."""
INTEGRAL_STEPS = 32
SHAP_SAMPLES = 32
# GradientShap uses the process's global random generators.
_RANDOM = threading.Lock()


def unwatched(done: int, total: int) -> None:
    """Do nothing: the default `Watch`."""


def attribute(
    model: Classifier,
    pixels: npt.NDArray[np.uint8],
    target: int,
    settings: MapSettings,
    watch: Watch = unwatched,
) -> Attribution:
    """Explain the score of a class for one image, under the model's lock.

    Args:
        model: Whose score.
        pixels: (S, S) uint8 network input, from `view`.
        target: Index of the class.
        settings: Method and configuration.
        watch: Receives the progress.

    Returns:
        The attribution, scaled by its largest magnitude; all zero without evidence for the class.

    Raises:
        AttributeError: For a layer that the network does not have.
    """
    with model.lock:
        maps, grid = attribute_batch(
            model.network,
            model.card.preprocessing,
            pixels[None],
            np.array([target]),
            settings,
            watch,
        )
    heat = maps[0] / max(float(np.abs(maps[0]).max()), 1e-12)
    return Attribution(settings.method, model.card.class_names[target], heat, grid)


def place_on_square(heat: npt.NDArray[np.float32], box: Box) -> npt.NDArray[np.float32]:
    """Place an attribution (S, S) of a box on the whole square, with zero elsewhere."""
    if box == WHOLE:
        return heat
    size = len(heat)
    left, top, right, bottom = (round(edge * size) for edge in box)
    whole = np.zeros_like(heat)
    resized = Image.fromarray(heat).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    whole[top:bottom, left:right] = np.asarray(resized)
    return whole


def attribute_batch(
    network: nn.Module,
    preprocessing: Preprocessing,
    pixels: npt.NDArray[np.uint8],
    targets: Labels,
    settings: MapSettings,
    watch: Watch = unwatched,
) -> tuple[Maps, tuple[int, int]]:
    """Return attributions. The caller holds the model's lock.

    gradcam: Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2: feature maps weighted by their mean
    gradients, summed, negative values set to zero. hirescam: Draelos & Carin 2020, "Use HiResCAM
    instead of Grad-CAM", eq. 2: weighted by the gradient at each position. integrated-gradients:
    Sundararajan et al. 2017, eq. 1, from a black image. gradient-shap: Lundberg & Lee 2017,
    expected gradients from uniform gray images. occlusion: Zeiler & Fergus 2014, section 4.2:
    decrease of the score under a black patch.

    Args:
        network: In eval mode.
        preprocessing: Of the model.
        pixels: (B, S, S) uint8.
        targets: (B,) class indices.
        settings: Method and configuration.
        watch: Receives the progress.

    Returns:
        (B, S, S) attributions, and the (rows, columns) of the grid they were computed on.
    """
    raw, grid = raw_attributions(network, preprocessing, pixels, targets, settings, watch)
    return postprocess(raw, settings), grid


def postprocess(raw: Maps, settings: MapSettings) -> Maps:
    """Smooth raw attributions (B, S, S); methods that explain a layer keep positive values only."""
    if settings.smoothing:
        # Gradients of neighboring pixels have opposite signs and would cancel: smoothed, such an
        # attribution shows where, but not the sign.
        signless = settings.method in ("integrated-gradients", "gradient-shap")
        sigma = settings.smoothing * raw.shape[-1]
        raw = gaussian_filter(np.abs(raw) if signless else raw, (0, sigma, sigma))
    return np.maximum(raw, 0) if settings.method in LAYER_METHODS else raw


def raw_attributions(
    network: nn.Module,
    preprocessing: Preprocessing,
    pixels: npt.NDArray[np.uint8],
    targets: Labels,
    settings: MapSettings,
    watch: Watch = unwatched,
) -> tuple[Maps, tuple[int, int]]:
    """Return attributions as `attribute_batch` does, but without `postprocess`."""
    score = _Score(network, settings.score)
    size = pixels.shape[-1]
    parts: list[Tensor] = []
    grid = (size, size)
    if settings.method in LAYER_METHODS:
        layer = network.get_submodule(settings.layer)
        for start in range(0, len(pixels), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            x, y = to_input(pixels[some], preprocessing), torch.from_numpy(targets[some])
            native = layer_attributions(score, layer, x, y, settings)
            grid = (native.shape[-2], native.shape[-1])
            full = LayerAttribution.interpolate(native, (size, size), settings.interpolation)
            parts.append(full[:, 0])
            watch(min(start + AT_ONCE, len(pixels)), len(pixels))
    else:
        if settings.method == "occlusion":
            grid = (_places(settings.window, size),) * 2
        for i, (one, target) in enumerate(zip(pixels, targets.tolist(), strict=True)):

            def step(done: int, total: int, before: int = i) -> None:
                watch(before * total + min(done, total), len(pixels) * total)

            parts.append(_input_attribution(score, one, target, preprocessing, settings, step))
    return torch.cat(parts).numpy(), grid


def layer_attributions(
    score: nn.Module, layer: nn.Module, x: Tensor, targets: Tensor, settings: MapSettings
) -> Tensor:
    """Return attributions on a layer's own grid.

    Args:
        score: The explained outputs of the network.
        layer: Module of the network.
        x: (B, 3, S, S) network input.
        targets: (B,) class indices.
        settings: Of a method that explains a layer.

    Returns:
        (B, 1, h, w).
    """
    with torch.enable_grad():
        if settings.method == "gradcam":
            cam = LayerGradCam(score, layer)
            native: Tensor = cam.attribute(x, target=targets, relu_attributions=True)
        else:
            products = LayerGradientXActivation(score, layer).attribute(x, target=targets)
            native = products.sum(dim=1, keepdim=True)
    return native.detach()


def _input_attribution(
    score: _Score,
    pixels: npt.NDArray[np.uint8],
    target: int,
    preprocessing: Preprocessing,
    settings: MapSettings,
    watch: Watch,
) -> Tensor:
    """Return the (1, S, S) attribution of one image to the input, summed over channels."""
    x = to_input(pixels[None], preprocessing)
    size = pixels.shape[-1]
    black = to_input(np.zeros_like(pixels)[None], preprocessing)
    if settings.method == "integrated-gradients":
        with torch.enable_grad(), score.watched(watch, INTEGRAL_STEPS):
            found: Tensor = IntegratedGradients(score).attribute(
                x, black, target, n_steps=INTEGRAL_STEPS, internal_batch_size=AT_ONCE
            )
    elif settings.method == "occlusion":
        window, stride = _patch(settings.window, size)
        with torch.no_grad(), score.watched(watch, _places(settings.window, size) ** 2 + 1):
            found = Occlusion(score).attribute(
                x, (3, window, window), (3, stride, stride), black, target, None, AT_ONCE
            )
        # The patch covers all channels, so they have the same values.
        found = found[:, :1]
    else:
        grays = np.linspace(0, 255, 5).astype(np.uint8)[:, None, None] * np.ones_like(pixels)[None]
        baselines = to_input(grays, preprocessing)
        with (
            torch.enable_grad(),
            _RANDOM,
            torch.random.fork_rng(devices=[]),
            score.watched(watch, SHAP_SAMPLES),
        ):
            torch.manual_seed(0)
            global_state = np.random.get_state()
            np.random.seed(0)
            try:
                parts = [
                    GradientShap(score).attribute(x, baselines, AT_ONCE, 0.0, target)
                    for _ in range(SHAP_SAMPLES // AT_ONCE)
                ]
            finally:
                np.random.set_state(global_state)
        found = torch.stack(parts).mean(dim=0)
    return found.sum(dim=1).detach().float()


def _patch(window: float, size: int) -> tuple[int, int]:
    """Return edge and step of occlusion's patch in pixels."""
    edge = max(2, round(window * size))
    return edge, edge // 2


def _places(window: float, size: int) -> int:
    """Return the number of positions of occlusion's patch along an edge."""
    edge, step = _patch(window, size)
    return -(-(size - edge) // step) + 1


class _Score(nn.Module):
    """A network whose outputs are the explained scores; reports its progress after each pass."""

    def __init__(self, network: nn.Module, score: str) -> None:
        super().__init__()
        self.network = network
        self.score = score
        self._watch: tuple[Watch, int] = (unwatched, 0)
        self._done = 0

    @contextmanager
    def watched(self, watch: Watch, total: int) -> Iterator[None]:
        """Report the passes inside the block to `watch`, of `total` inputs."""
        self._watch, self._done = (watch, total), 0
        yield
        self._watch = (unwatched, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the (B, C) scores of network input (B, 3, S, S): logits or contrasts.

        A contrast is a logit minus the first; for the first, minus the log-sum-exp of the others.
        """
        z: Tensor = self.network(x)
        self._done += len(x)
        watch, total = self._watch
        watch(self._done, total)
        if self.score == "logit":
            return z
        first, others = z[:, :1], z[:, 1:]
        return torch.cat([first - others.logsumexp(dim=1, keepdim=True), others - first], dim=1)
