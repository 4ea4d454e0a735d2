"""Faithfulness of attributions: deletion and insertion, infidelity, sensitivity, randomization."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

from covidxr.cards import CascadeStep, MapSettings
from covidxr.explanation.attribution import Maps, attribute_batch
from covidxr.explanation.removal import deleted, inserted, removal_masks, similarity
from covidxr.models.architectures import architecture
from covidxr.models.classifier import Classifier
from covidxr.models.preprocessing import normalize, to_unit
from covidxr.records import GrayImage, Labels

Pixels = npt.NDArray[np.uint8]
"""(N, S, S) network inputs."""
PATCH = 0.125
"""Edge of the black patches for infidelity, as a share of the image's."""
PERTURBED = 10
"""Perturbations per image for infidelity and sensitivity."""
RADIUS = 0.02
"""Largest change of a gray value, in [0, 1], for sensitivity."""


def probability_curves(
    model: Classifier, pixels: Pixels, targets: Labels, heats: Maps
) -> tuple[Maps, Maps]:
    """Return the deletion and insertion curves of class probabilities.

    Petsiuk et al. 2018, "RISE", section 4.4: pixels are blackened, or restored in a blurred image,
    in order of attribution, highest first.

    Args:
        model: Whose probabilities.
        pixels: (N, S, S).
        targets: (N,) class indices.
        heats: (N, S, S).

    Returns:
        (N, STEPS + 1) each.
    """

    def curve(change: Callable[[GrayImage, npt.NDArray[np.bool_]], Pixels]) -> Maps:
        rows = [
            model.scores(change(image, removal_masks(heat)))[:, target]
            for image, target, heat in zip(pixels, targets, heats, strict=True)
        ]
        return np.array(rows, dtype=np.float32)

    return curve(deleted), curve(inserted)


def infidelity_and_sensitivity(
    model: Classifier, pixels: Pixels, targets: Labels, settings: MapSettings
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return infidelity and maximum sensitivity of attributions, by Captum; lower is better.

    Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations". Infidelity: def. 2.1,
    of the class probability under black squares, with optimal scaling (Captum's `normalize`).
    Sensitivity: def. 4.1, relative, within `RADIUS` of each gray value.

    Args:
        model: To explain.
        pixels: (N, S, S).
        targets: (N,) class indices.
        settings: Method and configuration.

    Returns:
        (N,) each, 0 or more.
    """
    preprocessing = model.card.preprocessing
    gray, chosen = to_unit(pixels), torch.from_numpy(targets)
    size, edge = gray.shape[-1], round(PATCH * pixels.shape[-1])

    def probability(x: Tensor) -> Tensor:
        return torch.softmax(model.network(normalize(x, preprocessing)), dim=1)

    def explain(inputs: tuple[Tensor]) -> tuple[Tensor]:
        images = (inputs[0][:, 0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        # Captum orders perturbations by image.
        own = np.repeat(targets, len(images) // len(targets))
        maps = attribute_batch(model.network, preprocessing, images, own, settings)[0]
        scaled = maps / np.abs(maps).max(axis=(1, 2), keepdims=True).clip(1e-12)
        return (torch.from_numpy(scaled)[:, None],)

    def blacken(x: Tensor) -> tuple[Tensor, Tensor]:
        corners = torch.randint(0, size - edge + 1, (len(x), 2))
        change = torch.zeros_like(x)
        for i, (top, left) in enumerate(corners.tolist()):
            square = np.s_[i, 0, top : top + edge, left : left + edge]
            change[square] = x[square]
        return change, x - change

    at_once = min(64, PERTURBED * len(gray))
    with model.lock, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (maps,) = explain((gray,))
        with torch.no_grad():
            infidelities = infidelity(
                probability,
                blacken,
                gray,
                maps,
                target=chosen,
                n_perturb_samples=PERTURBED,
                normalize=True,
                max_examples_per_batch=at_once,
            )
        sensitivities = sensitivity_max(
            explain,
            gray,
            perturb_radius=RADIUS,
            n_perturb_samples=PERTURBED,
            max_examples_per_batch=at_once,
        )
    return infidelities.double().numpy(), sensitivities.double().numpy()


def cascade(
    model: Classifier, pixels: Pixels, targets: Labels, settings: MapSettings, seed: int = 0
) -> tuple[CascadeStep, ...]:
    """Return the similarity to the original attribution as layers are randomized, head to stem.

    An attribution that hardly changes does not depend on the trained weights.
    """
    (_, before), *rest = randomized_attributions(model, pixels, targets, settings, seed)
    steps = []
    for name, after in rest:
        pairs = zip(before, after, strict=True)
        correlation, ssim = np.array([similarity(a, b) for a, b in pairs]).mean(axis=0)
        steps.append(CascadeStep(name, float(correlation), float(ssim)))
    return tuple(steps)


def randomized_attributions(
    model: Classifier, pixels: Pixels, targets: Labels, settings: MapSettings, seed: int = 0
) -> list[tuple[str, Maps]]:
    """Return attributions of a network whose layers are randomized one by one, head to stem.

    Adebayo et al. 2018, "Sanity checks for saliency maps", section 3.1, on a copy of the network.

    Returns:
        ("", attributions as trained), then (layer, attributions randomized through that layer).
    """
    with model.lock:
        network = copy.deepcopy(model.network)
    maps = [("", attribute_batch(network, model.card.preprocessing, pixels, targets, settings)[0])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, modules in stages(network, model.card.architecture):
            for module in modules:
                module.apply(_randomize)
            maps.append(
                (
                    name,
                    attribute_batch(network, model.card.preprocessing, pixels, targets, settings)[
                        0
                    ],
                )
            )
    return maps


def stages(network: nn.Module, name: str) -> list[tuple[str, list[nn.Module]]]:
    """Return a network's stages from head to stem, by name; layers with weights without stages."""
    row = architecture(name)
    if not row.stages:
        children = list(network.named_children())[::-1]
        return [(n, [m]) for n, m in children if next(m.parameters(), None) is not None]
    head = (row.head.rstrip("."),)
    return [
        (names[0], [network.get_submodule(n) for n in names]) for names in (head, *row.stages[::-1])
    ]


def _randomize(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
