"""Checkpoints: the state of a training run after its last completed epoch."""

from __future__ import annotations

import io
import os
import pickle  # nosec B403
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from covidxr.errors import RunError
from covidxr.storage import write_bytes

StateDict = dict[str, torch.Tensor]
_VALUES = ("epoch", "best_epoch", "best_macro_f1", "best", "seconds", "origin")


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The result of a training run: the weights of its best epoch."""

    weights: StateDict
    origin: str
    """Source of the initial weights."""
    best_epoch: int
    best_macro_f1: float
    seconds: float
    """Duration of the training, with validation."""


class RunState:
    """The state of a training run after its last completed epoch."""

    def __init__(
        self,
        network: nn.Module,
        average: nn.Module | None,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler | None,
        origin: str,
    ) -> None:
        self._parts: dict[str, Any] = {
            "network": network,
            "average": average,
            "optimizer": optimizer,
            "schedule": schedule,
        }
        self.origin = origin
        self.epoch = self.best_epoch = 0
        self.best_macro_f1 = -1.0
        self.best: StateDict = {}
        self.seconds = 0.0

    @property
    def epochs_since_best(self) -> int:
        """Number of epochs since the best one."""
        return self.epoch - self.best_epoch

    def finish_epoch(self, epoch: int, macro_f1: float, model: nn.Module, seconds: float) -> None:
        """Record an epoch, and keep the weights of `model` if it is the best so far."""
        self.epoch = epoch
        self.seconds += seconds
        if macro_f1 > self.best_macro_f1:
            self.best_epoch, self.best_macro_f1 = epoch, macro_f1
            self.best = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically; the one before it is kept under `previous(path)`."""
        content: dict[str, Any] = {
            name: part.state_dict() for name, part in self._parts.items() if part is not None
        }
        content |= {name: getattr(self, name) for name in _VALUES}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        if path.exists():
            os.replace(path, previous(path))
        write_bytes(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Restore the state from a checkpoint.

        Raises:
            RunError: When no checkpoint can be read.
        """
        content = read_checkpoint(path)
        for name, part in self._parts.items():
            if part is not None:
                part.load_state_dict(content[name])
        for name in _VALUES:
            setattr(self, name, content[name])

    def result(self) -> Fitted:
        """Return the best epoch so far."""
        return Fitted(self.best, self.origin, self.best_epoch, self.best_macro_f1, self.seconds)


def previous(path: Path) -> Path:
    """Return where the previous checkpoint is kept, in case writing the last one fails."""
    return path.with_name(f"{path.name}.previous")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a run's last checkpoint, or the previous one if that is missing or damaged.

    Raises:
        RunError: When neither can be read.
    """
    try:
        return _read_one(path)
    except RunError:
        if not previous(path).exists():
            raise
        return _read_one(previous(path))


def _read_one(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(
            f"{path.parent} has no checkpoint: the run ended before its first epoch was complete; "
            "start it again"
        ) from None
    # Nothing is unpickled: `weights_only` raises UnpicklingError for anything but tensors.
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise RunError(
            f"the checkpoint {path} cannot be read ({error}); start the run again"
        ) from error
    return content


def best_of_checkpoint(path: Path) -> Fitted:
    """Return the best epoch of a run so far.

    Raises:
        RunError: When no epoch is complete.
    """
    content = read_checkpoint(path)
    return Fitted(
        content["best"],
        content["origin"],
        content["best_epoch"],
        content["best_macro_f1"],
        content["seconds"],
    )
