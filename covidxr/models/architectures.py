"""The table of networks: how each is built, where its heat map is read, which stages freeze, where ImageNet weights come from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torchvision.models import EfficientNet_B0_Weights, ResNet18_Weights, WeightsEnum

from covidxr.config import variable
from covidxr.errors import ConfigError, ModelError

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One row of the table. Every network takes (B, 3, S, S) and gives (B, C) logits."""

    name: str
    build: Callable[[int], nn.Module]
    """Number of classes -> network with random weights."""
    target_layer: str
    """Module whose output Grad-CAM explains."""
    head: str
    """Prefix of the parameters that depend on the classes."""
    stages: tuple[tuple[str, ...], ...]
    """Modules from the input on, in the groups that `frozen_stages` counts."""
    image_sizes: tuple[int, int]
    """Smallest and largest edge in pixels that the network accepts."""
    imagenet: WeightsEnum | None = None


def _poster_cnn(classes: int) -> nn.Module:
    """The study's network, to the letter; its log-softmax makes cross entropy equal to the study's NLL loss."""
    # (B, 3, 128, 128) -> 6 x 124 -> 6 x 15 -> 16 x 11 -> 16 x 1 -> (B, C)
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 6, 5)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(8, 8)),
        ("conv2", nn.Conv2d(6, 16, 5)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.MaxPool2d(8, 8)),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(16, 100)),
        ("relu3", nn.ReLU()),
        ("fc2", nn.Linear(100, 50)),
        ("relu4", nn.ReLU()),
        ("fc3", nn.Linear(50, classes)),
        ("log_softmax", nn.LogSoftmax(dim=1)),
    ]
    return nn.Sequential(OrderedDict(layers))


def _resnet18(classes: int) -> nn.Module:
    network: nn.Module = torchvision.models.resnet18(num_classes=classes)
    return network


def _efficientnet_b0(classes: int) -> nn.Module:
    network: nn.Module = torchvision.models.efficientnet_b0(num_classes=classes)
    return network


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture("poster_cnn", _poster_cnn, "relu2", "fc3.", (), (100, 163)),
        Architecture(
            "resnet18",
            _resnet18,
            "layer4",
            "fc.",
            (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)),
            (32, 1024),
            ResNet18_Weights.IMAGENET1K_V1,
        ),
        Architecture(
            "efficientnet_b0",
            _efficientnet_b0,
            "features",
            "classifier.",
            tuple((f"features.{i}",) for i in range(9)),
            (32, 1024),
            EfficientNet_B0_Weights.IMAGENET1K_V1,
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Return a row of the table. Raises ConfigError for a name that is not in it."""
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"there is no architecture {name!r}; there are {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def build_network(name: str, classes: int, image_size: int) -> nn.Module:
    """Return a network with random weights. Raises ConfigError when it cannot take images of that size."""
    row = architecture(name)
    low, high = row.image_sizes
    if not low <= image_size <= high:
        raise ConfigError(
            f"{name} takes images of {low} to {high} pixels, got image_size {image_size}"
        )
    return row.build(classes)


def load_imagenet(network: nn.Module, name: str, file: Path | None) -> str:
    """Put ImageNet weights into all of a network but its head; return in words where they came from.

    file: a safetensors file; None means the file that COVIDXR_PRETRAINED names, else torchvision's own, hash-checked.
    Residual blocks that a file lacks start as the identity. Raises ConfigError or ModelError when no fitting weights are to be had.
    """
    row = architecture(name)
    named = variable("COVIDXR_PRETRAINED")
    chosen = file or (Path(named) if named else None)
    if chosen is not None:
        weights, origin = (
            _read_weights(chosen),
            f"weights from the file {chosen.parent.name}/{chosen.name}",
        )
    else:
        weights, origin = _download(row), f"ImageNet weights of torchvision ({row.imagenet})"
    body = {
        k: v.float() if v.is_floating_point() else v
        for k, v in weights.items()
        if not k.startswith(row.head)
    }
    missing, unexpected = network.load_state_dict(body, strict=False)
    identity = sorted({k.rsplit(".", 2)[0] for k in missing if not k.startswith(row.head)})
    if unexpected or any(not _start_as_identity(network, block) for block in identity):
        raise ModelError(
            f"the weights do not fit {name}: {len(missing)} tensors are missing (such as {', '.join(missing[:2])}) and "
            f"{len(unexpected)} do not belong to it; give weights of torchvision's {name}"
        )
    return origin + (
        f"; {', '.join(identity)} absent there and started as the identity" if identity else ""
    )


def _start_as_identity(network: nn.Module, name: str) -> bool:
    """Zero the last batch norm of a ResNet block without downsampling, so that it passes its input on; False for anything else."""
    block = dict(network.named_modules()).get(name)
    if not isinstance(block, torchvision.models.resnet.BasicBlock) or block.downsample is not None:
        return False
    nn.init.zeros_(block.bn2.weight)
    return True


def _read_weights(file: Path) -> StateDict:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise ModelError(
            f"there is no weights file {file}; give a file of them by --init or COVIDXR_PRETRAINED"
        ) from None
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is not a safetensors file ({error}); pickled weights are never opened"
        ) from error


def _download(row: Architecture) -> StateDict:
    if row.imagenet is None:
        raise ConfigError(f"there are no ImageNet weights for {row.name}; use init random")
    try:
        return dict(row.imagenet.get_state_dict(check_hash=True, progress=False, weights_only=True))
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"cannot download the ImageNet weights of {row.name} ({error}); give a file of them by --init or COVIDXR_PRETRAINED"
        ) from error
