"""What updates a network: optimizer, schedule, weight averaging, frozen stages, class weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from covidxr.errors import ConfigError
from covidxr.models.architectures import architecture
from covidxr.records import Labels, Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """A network in training, and everything that a step changes."""

    network: nn.Module
    wrapped: nn.Module
    """The network on the device, synchronized over processes."""
    optimizer: torch.optim.Optimizer
    """As set up by Fabric."""
    schedule: LRScheduler | None
    average: AveragedModel | None
    frozen: list[nn.Module]
    class_weights: Tensor

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and stored: the averaged one, if there is one."""
        return self.network if self.average is None else self.average.module

    def train(self) -> None:
        """Switch to train mode, except for the frozen stages."""
        self.wrapped.train()
        for module in self.frozen:
            module.eval()

    def step(self, loss: Tensor, fabric: Fabric) -> None:
        """Update the weights by the gradient of the loss."""
        self.optimizer.zero_grad()
        fabric.backward(loss)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.network)


def freeze(network: nn.Module, recipe: Recipe) -> list[nn.Module]:
    """Freeze the first stages of a network.

    Returns:
        Their modules, which must stay in eval mode, or their batch statistics would drift.

    Raises:
        ConfigError: When the network has fewer stages than the recipe freezes.
    """
    stages = architecture(recipe.architecture).stages
    if recipe.frozen_stages > len(stages):
        raise ConfigError(
            f"frozen_stages must be <= {len(stages)} for {recipe.architecture}, got "
            f"{recipe.frozen_stages}"
        )
    modules = [
        network.get_submodule(name) for stage in stages[: recipe.frozen_stages] for name in stage
    ]
    for module in modules:
        module.requires_grad_(False)
    return modules


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe for the parameters that are not frozen."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    lr, weight_decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=lr, momentum=recipe.momentum, weight_decay=weight_decay
        )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    # Norms and biases are not decayed: there, decay only counteracts the normalization.
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr)


def make_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int
) -> LRScheduler | None:
    """Return the schedule of a recipe for `steps` steps per epoch; None for a constant rate."""
    if recipe.schedule == "constant":
        return None
    return OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=steps * recipe.epochs)


def make_average(network: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """Return the moving average of a network's weights; None for a recipe without one."""
    if not recipe.ema_decay:
        return None
    update = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def class_weights(labels: Labels, classes: int, balance: float) -> Tensor:
    """Return the (C,) weights of the classes: their share to the power of -balance.

    Scaled so that the mean weight of a training image is 1.

    Args:
        labels: (N,) class indices of the training images.
        classes: C.
        balance: 0 for no weighting, 1 for equal weight of all classes.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = (counts / counts.sum()).clip(min=1e-9) ** -balance
    return torch.from_numpy(weights / (weights * counts).sum() * counts.sum()).float()
