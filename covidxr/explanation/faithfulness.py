"""Heat maps put to the test on the network itself: curves, Captum's measures, and maps of networks made random layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

from covidxr.cards import CascadeStep, MapSettings
from covidxr.explanation.attribution import Maps, heat_maps
from covidxr.explanation.removal import deleted, inserted, likeness, removal_masks
from covidxr.models.architectures import architecture
from covidxr.models.classifier import Classifier
from covidxr.models.inference import predict_scores
from covidxr.models.preprocessing import normalise, to_unit
from covidxr.records import GreyImage, Labels

Pictures = npt.NDArray[np.uint8]
"""(N, S, S) as the network sees them."""
PATCH = 0.125
"""Edge of the patches that infidelity blackens, as a share of the picture's."""
PERTURBED = 10
"""Draws a picture for infidelity and for sensitivity."""
RADIUS = 0.02
"""Largest change of a grey value, in [0, 1], that a map should hardly notice."""


def probability_curves(
    model: Classifier, pixels: Pictures, targets: Labels, heats: Maps
) -> tuple[Maps, Maps]:
    """Return the deletion and the insertion curves, (N, STEPS + 1) each, of the probability of the classes (N,).

    Petsiuk et al. 2018, "RISE", section 4.4: pixels blackened, or put back into a blurred picture, the map's hottest first.
    """

    def curve(change: Callable[[GreyImage, npt.NDArray[np.bool_]], Pictures]) -> Maps:
        rows = []
        for picture, target, heat in zip(pixels, targets, heats, strict=True):
            stack = change(picture, removal_masks(heat))
            preprocessing, temperature = model.card.preprocessing, model.card.temperature
            with model.lock:
                scores = predict_scores(
                    model.network, stack, np.arange(len(stack)), preprocessing, temperature
                )
            rows.append(scores[:, target])
        return np.array(rows, dtype=np.float32)

    return curve(deleted), curve(inserted)


def infidelity_and_sensitivity(
    model: Classifier, pixels: Pictures, targets: Labels, settings: MapSettings
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return infidelity and greatest sensitivity, (N,) each, by Captum; for both less is better, 0 the best.

    Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", def. 2.1 with blackened squares and the map rescaled to
    what fits best (Captum's `normalize`), of the class's probability; and def. 4.1, relative, within `RADIUS` of each grey value.
    """
    preprocessing = model.card.preprocessing
    grey, chosen = to_unit(pixels), torch.from_numpy(targets)
    size, edge = grey.shape[-1], round(PATCH * pixels.shape[-1])

    def probability(x: Tensor) -> Tensor:
        return torch.softmax(model.network(normalise(x, preprocessing)), dim=1)

    def explain(inputs: tuple[Tensor]) -> tuple[Tensor]:
        seen = (inputs[0][:, 0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        own = np.repeat(
            targets, len(seen) // len(targets)
        )  # Captum sets the draws of one picture one after the other
        maps = heat_maps(model.network, preprocessing, seen, own, settings)[0]
        return (
            torch.from_numpy(maps / np.abs(maps).max(axis=(1, 2), keepdims=True).clip(1e-12))[
                :, None
            ],
        )

    def blacken(x: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.randint(0, size - edge + 1, (len(x), 2))
        change = torch.zeros_like(x)
        for i, (top, left) in enumerate(places.tolist()):
            change[i, 0, top : top + edge, left : left + edge] = x[
                i, 0, top : top + edge, left : left + edge
            ]
        return change, x - change

    at_once = min(64, PERTURBED * len(grey))
    with model.lock, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (maps,) = explain((grey,))
        with torch.no_grad():
            unfaithful = infidelity(
                probability,
                blacken,
                grey,
                maps,
                target=chosen,
                n_perturb_samples=PERTURBED,
                normalize=True,
                max_examples_per_batch=at_once,
            )
        sensitive = sensitivity_max(
            explain,
            grey,
            perturb_radius=RADIUS,
            n_perturb_samples=PERTURBED,
            max_examples_per_batch=at_once,
        )
    return np.asarray(unfaithful.numpy(), dtype=np.float64), np.asarray(
        sensitive.numpy(), dtype=np.float64
    )


def cascade(
    model: Classifier, pixels: Pictures, targets: Labels, settings: MapSettings, seed: int = 0
) -> tuple[CascadeStep, ...]:
    """Return how alike maps stay as the layers are made random one after the other, from the head to the stem.

    A map that hardly changes does not depend on what the network has learned.
    """
    (_, before), *rest = randomised_maps(model, pixels, targets, settings, seed)
    steps = []
    for name, after in rest:
        alike = np.array([likeness(a, b) for a, b in zip(before, after, strict=True)]).mean(axis=0)
        steps.append(CascadeStep(name, float(alike[0]), float(alike[1])))
    return tuple(steps)


def randomised_maps(
    model: Classifier, pixels: Pictures, targets: Labels, settings: MapSettings, seed: int = 0
) -> list[tuple[str, Maps]]:
    """Return the maps of the network as it is, under no name, and then as its layers are random down to each that is named.

    Adebayo et al. 2018, "Sanity checks for saliency maps", section 3.1, on a copy of the network.
    """
    with model.lock:
        network = copy.deepcopy(model.network)
    maps = [("", heat_maps(network, model.card.preprocessing, pixels, targets, settings)[0])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, modules in stages(network, model.card.architecture):
            for module in modules:
                module.apply(_make_random)
            maps.append(
                (name, heat_maps(network, model.card.preprocessing, pixels, targets, settings)[0])
            )
    return maps


def stages(network: nn.Module, name: str) -> list[tuple[str, list[nn.Module]]]:
    """Return a network's layers from its head to its stem, by name: the table's stages, or each layer that has weights."""
    row = architecture(name)
    if not row.stages:
        weighted = [
            (n, [m]) for n, m in network.named_children() if next(m.parameters(), None) is not None
        ]
        return weighted[::-1]
    head = [row.head.rstrip(".")]
    return [
        (names[0], [network.get_submodule(n) for n in names]) for names in (head, *row.stages[::-1])
    ]


def _make_random(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
