"""Heat maps by Captum: which places in the picture raised a class's score."""

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
from covidxr.models.classifier import WHOLE, Box, Classifier
from covidxr.models.preprocessing import to_input
from covidxr.records import Attribution, Labels, Preprocessing

Maps = npt.NDArray[np.float32]
"""(B, S, S) heat maps, none scaled."""
Watch = Callable[[int, int], None]
"""Told how many steps of how many are done; what it raises, such as Cancelled, ends the work."""

AT_ONCE = 16
"""Inputs that pass the network together."""
INTEGRAL_STEPS = 32
SHAP_SAMPLES = 32
_RANDOM = threading.Lock()  # GradientShap draws from the process's own generators


def unwatched(done: int, total: int) -> None:
    """Let the work go on."""


def attribute(
    model: Classifier,
    pixels: npt.NDArray[np.uint8],
    target: int,
    settings: MapSettings,
    watch: Watch = unwatched,
) -> Attribution:
    """Explain the score of class `target` for one picture of (S, S) uint8, as the network sees it.

    The map is scaled by its largest magnitude; it is all zero when nothing spoke for the class. Waits for the model's lock.
    Raises AttributeError for a layer that the network does not have.
    """
    with model.lock:
        maps, grid = heat_maps(
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
    """Bring an attribution (S, S) of what is in `box` back to the whole square, zero elsewhere."""
    if box == WHOLE:
        return heat
    size = len(heat)
    left, top, right, bottom = (round(edge * size) for edge in box)
    whole = np.zeros_like(heat)
    resized = Image.fromarray(heat).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    whole[top:bottom, left:right] = np.asarray(resized)
    return whole


def heat_maps(
    network: nn.Module,
    preprocessing: Preprocessing,
    pixels: npt.NDArray[np.uint8],
    targets: Labels,
    settings: MapSettings,
    watch: Watch = unwatched,
) -> tuple[Maps, tuple[int, int]]:
    """Return the maps of pixels (B, S, S) uint8 for their classes (B,), and the (rows, columns) that they were computed on.

    gradcam: Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2: the layer's maps, weighted by their mean gradients, summed, negative
    parts cut. hirescam: Draelos & Carin 2020, "Use HiResCAM instead of Grad-CAM", eq. 2: each place weighted by its own gradient,
    not by the mean. integrated-gradients: Sundararajan et al. 2017, eq. 1, from a black picture. gradient-shap: Lundberg & Lee
    2017, its expected gradients from uniform greys. occlusion: Zeiler & Fergus 2014, section 4.2: what a black patch costs.
    Whoever calls holds the model's lock; the network is in eval mode and stays as it is.
    """
    raw, grid = raw_maps(network, preprocessing, pixels, targets, settings, watch)
    return finish_maps(raw, settings), grid


def finish_maps(raw: Maps, settings: MapSettings) -> Maps:
    """Smooth raw maps (B, S, S) and cut what a method does not show: gradcam and hirescam end up in what spoke for the class."""
    if settings.smoothing:
        # Neighbouring pixels' gradients have opposite signs and would cancel: smoothed, such a map says where, not which way.
        signless = settings.method in ("integrated-gradients", "gradient-shap")
        sigma = settings.smoothing * raw.shape[-1]
        raw = gaussian_filter(np.abs(raw) if signless else raw, (0, sigma, sigma))
    return np.maximum(raw, 0) if settings.method in ("gradcam", "hirescam") else raw


def raw_maps(
    network: nn.Module,
    preprocessing: Preprocessing,
    pixels: npt.NDArray[np.uint8],
    targets: Labels,
    settings: MapSettings,
    watch: Watch = unwatched,
) -> tuple[Maps, tuple[int, int]]:
    """Return maps as `heat_maps` does, but neither smoothed nor cut."""
    score = _Score(network, settings.score)
    size = pixels.shape[-1]
    parts: list[Tensor] = []
    grid = (size, size)
    if settings.method in ("gradcam", "hirescam"):
        layer = network.get_submodule(settings.layer)
        for start in range(0, len(pixels), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            native = layer_maps(
                score,
                layer,
                to_input(pixels[some], preprocessing),
                torch.from_numpy(targets[some]),
                settings,
            )
            grid = (native.shape[-2], native.shape[-1])
            parts.append(
                LayerAttribution.interpolate(
                    native, (size, size), interpolate_mode=settings.interpolation
                )[:, 0]
            )
            watch(min(start + AT_ONCE, len(pixels)), len(pixels))
    else:
        if settings.method == "occlusion":
            grid = (_places(settings.window, size),) * 2
        for i, (one, target) in enumerate(zip(pixels, targets.tolist(), strict=True)):

            def step(done: int, total: int, before: int = i) -> None:
                watch(before * total + min(done, total), len(pixels) * total)

            parts.append(_input_map(score, one, target, preprocessing, settings, step))
    return torch.cat(parts).numpy(), grid


def layer_maps(
    score: nn.Module, layer: nn.Module, x: Tensor, targets: Tensor, settings: MapSettings
) -> Tensor:
    """Return (B, 1, h, w) maps on a layer's own grid for network input x (B, 3, S, S)."""
    with torch.enable_grad():
        if settings.method == "gradcam":
            native: Tensor = LayerGradCam(score, layer).attribute(
                x, target=targets, relu_attributions=True
            )
        else:
            native = (
                LayerGradientXActivation(score, layer)
                .attribute(x, target=targets)
                .sum(dim=1, keepdim=True)
            )
    return native.detach()


def _input_map(
    score: _Score,
    pixels: npt.NDArray[np.uint8],
    target: int,
    preprocessing: Preprocessing,
    settings: MapSettings,
    watch: Watch,
) -> Tensor:
    """Return the (1, S, S) map of one picture by a method that works on the input, the channels summed."""
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
        found = found[:, :1]  # the patch covers all channels, so each holds the same
    else:
        greys = np.linspace(0, 255, 5).astype(np.uint8)[:, None, None] * np.ones_like(pixels)[None]
        baselines = to_input(greys, preprocessing)
        with (
            torch.enable_grad(),
            _RANDOM,
            torch.random.fork_rng(devices=[]),
            score.watched(watch, SHAP_SAMPLES),
        ):
            torch.manual_seed(0)
            kept = np.random.get_state()
            np.random.seed(0)
            try:
                parts = [
                    GradientShap(score).attribute(x, baselines, AT_ONCE, 0.0, target)
                    for _ in range(SHAP_SAMPLES // AT_ONCE)
                ]
            finally:
                np.random.set_state(kept)
        found = torch.stack(parts).mean(dim=0)
    return found.sum(dim=1).detach().float()


def _patch(window: float, size: int) -> tuple[int, int]:
    """Return the edge in pixels of occlusion's patch, and its step."""
    edge = max(2, round(window * size))
    return edge, edge // 2


def _places(window: float, size: int) -> int:
    """Return how many places occlusion's patch takes along an edge."""
    edge, step = _patch(window, size)
    return -(-(size - edge) // step) + 1


class _Score(nn.Module):
    """The network with what is explained as its outputs; says after each pass how many inputs it has seen."""

    def __init__(self, network: nn.Module, kind: str) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        self._watch: tuple[Watch, int] = (unwatched, 0)
        self._seen = 0

    @contextmanager
    def watched(self, watch: Watch, total: int) -> Iterator[None]:
        """Tell `watch` of the passes made within, of `total` inputs in all."""
        self._watch, self._seen = (watch, total), 0
        yield
        self._watch = (unwatched, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, C) logits, or contrasts: less the first logit; for the first, less the log-sum-exp of the rest."""
        z: Tensor = self.network(x)
        self._seen += len(x)
        watch, total = self._watch
        watch(self._seen, total)
        if self.kind == "logit":
            return z
        return torch.cat(
            [z[:, :1] - z[:, 1:].logsumexp(dim=1, keepdim=True), z[:, 1:] - z[:, :1]], dim=1
        )
