"""Network architectures: one table that every list of networks is made from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from covidxr.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that takes (B, 3, S, S) and returns (B, C) logits."""

    name: str
    title: str
    """As people write it."""
    build: Callable[[int], nn.Module]
    """Number of classes -> network with random weights."""
    target_layer: str
    """Module whose output Grad-CAM explains."""
    finer_layer: str
    """An earlier module, whose grid has at least twice the rows."""
    head: str
    """Prefix of the parameters that depend on the classes."""
    stages: tuple[tuple[str, ...], ...]
    """Modules from the input on, in the groups that `frozen_stages` counts."""
    image_sizes: tuple[int, int]
    """Smallest and largest edge in pixels that the network accepts."""
    imagenet: str = ""
    """Name of torchvision's ImageNet weights; empty where there are none."""


def _poster_cnn(classes: int) -> nn.Module:
    """The baseline study's network; its log-softmax makes cross entropy equal to its NLL loss."""
    from torch import nn

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
    from torchvision.models import resnet18

    network: nn.Module = resnet18(num_classes=classes)
    return network


def _efficientnet_b0(classes: int) -> nn.Module:
    from torchvision.models import efficientnet_b0

    network: nn.Module = efficientnet_b0(num_classes=classes)
    return network


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture(
            name="poster_cnn",
            title="Small CNN of the baseline study",
            build=_poster_cnn,
            target_layer="relu2",
            finer_layer="relu1",
            head="fc3.",
            stages=(),
            image_sizes=(100, 163),
        ),
        Architecture(
            name="resnet18",
            title="ResNet-18",
            build=_resnet18,
            target_layer="layer4",
            finer_layer="layer3",
            head="fc.",
            stages=(("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)),
            image_sizes=(32, 1024),
            imagenet="ResNet18_Weights.IMAGENET1K_V1",
        ),
        Architecture(
            name="efficientnet_b0",
            title="EfficientNet-B0",
            build=_efficientnet_b0,
            target_layer="features",
            finer_layer="features.5",
            head="classifier.",
            stages=tuple((f"features.{i}",) for i in range(9)),
            image_sizes=(32, 1024),
            imagenet="EfficientNet_B0_Weights.IMAGENET1K_V1",
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Return an architecture by name.

    Raises:
        ConfigError: For an unknown name.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"there is no architecture {name!r}; there are {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def architecture_title(name: str) -> str:
    """Return a network's name as people write it; an unknown one as it is."""
    return ARCHITECTURES[name].title if name in ARCHITECTURES else name


def build_network(name: str, classes: int, image_size: int) -> nn.Module:
    """Return a network with random weights.

    Args:
        name: Of the architecture.
        classes: Number of outputs.
        image_size: Edge of its input in pixels.

    Raises:
        ConfigError: When the network does not accept images of that size.
    """
    row = architecture(name)
    low, high = row.image_sizes
    if not low <= image_size <= high:
        raise ConfigError(
            f"{name} takes images of {low} to {high} pixels, got image_size {image_size}"
        )
    return row.build(classes)
