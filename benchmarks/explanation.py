"""Milliseconds of a warm Grad-CAM, compared with forward and backward, and pytorch-grad-cam.

All use one stored model, image, layer and logit. They take turns, so that a busy machine slows all
of them, and the result is the median. `attribute` includes lock, scaling and interpolation;
pytorch-grad-cam resizes too.

    pip install grad-cam
    python benchmarks/explanation.py [MODEL]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from covidxr.cards import MapSettings
from covidxr.explanation.attribution import attribute
from covidxr.images.radiograph import fit_to_square
from covidxr.models.architectures import architecture
from covidxr.models.preprocessing import to_input
from covidxr.prediction.cases import sample_phantom
from covidxr.prediction.loading import load_classifier

WARM_UP, ROUNDS = 5, 30


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Print one JSON object."""
    model = load_classifier(sys.argv[1] if len(sys.argv) > 1 else "covidxr-resnet18")
    card, network = model.card, model.network
    pixels = fit_to_square(sample_phantom("Lung_Opacity"), card.preprocessing.image_size)
    x = to_input(pixels[None], card.preprocessing)
    with torch.inference_mode():
        target = int(network(x).argmax())
    layer = architecture(card.architecture).target_layer
    settings = MapSettings("gradcam", layer, "logit")
    theirs = GradCAM(network, [network.get_submodule(layer)])
    targets = [ClassifierOutputTarget(target)]

    def passes() -> None:
        network.zero_grad(set_to_none=True)
        network(x)[0, target].backward()

    works = {
        "ours": lambda: attribute(model, pixels, target, settings),
        "forward and backward": passes,
        "pytorch-grad-cam": lambda: theirs(to_input(pixels[None], card.preprocessing), targets),
    }
    ours, other = works["ours"]().heat, theirs(x, targets)[0]
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(WARM_UP + ROUNDS):
        for name, work in works.items():
            spent = milliseconds(work)
            if turn >= WARM_UP:
                taken[name].append(spent)
    medians = {name: float(np.median(spent)) for name, spent in taken.items()}
    result = {
        "model": card.model_id,
        "image_size": card.preprocessing.image_size,
        "threads": torch.get_num_threads(),
        "rounds": ROUNDS,
        "milliseconds": {name: round(spent, 1) for name, spent in medians.items()},
        "ratio_to_forward_and_backward": medians["ours"] / medians["forward and backward"],
        "ratio_to_pytorch_grad_cam": medians["ours"] / medians["pytorch-grad-cam"],
        # pytorch-grad-cam subtracts the minimum, and interpolates a little differently.
        "correlation_of_maps": float(np.corrcoef(ours.ravel(), other.ravel())[0, 1]),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
