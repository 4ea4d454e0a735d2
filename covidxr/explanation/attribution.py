"""Grad-CAM by Captum: which places in the picture raised a class's score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn

from covidxr.models.architectures import architecture
from covidxr.models.preprocessing import to_input
from covidxr.models.store import LoadedModel
from covidxr.records import Attribution


def grad_cam(model: LoadedModel, pixels: npt.NDArray[np.uint8], target: int) -> Attribution:
    """Explain the score of class `target` for one picture of (S, S) uint8 from `fit_to_square`.

    Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2: the layer's maps, weighted by their mean gradients, summed, negative parts cut.
    The map is scaled to [0, 1] by its maximum; it is all zero when nothing spoke for the class.
    """
    card = model.card
    layer = model.network.get_submodule(architecture(card.architecture).target_layer)
    with model.lock:
        native = _layer_map(model.network, layer, to_input(pixels[None], card.preprocessing), target)  # (1, 1, h, w)
    size = card.preprocessing.image_size
    heat = LayerAttribution.interpolate(native, (size, size), interpolate_mode="bilinear")[0, 0].clamp(min=0)
    heat = heat / heat.max().clamp(min=1e-12)
    rows, columns = native.shape[-2:]
    return Attribution("grad-cam", card.class_names[target], heat.numpy(), (rows, columns))


def _layer_map(network: nn.Module, layer: nn.Module, x: torch.Tensor, target: int) -> torch.Tensor:
    with torch.enable_grad():
        heat: torch.Tensor = LayerGradCam(network, layer).attribute(x, target=target, relu_attributions=True)
    return heat.detach()
