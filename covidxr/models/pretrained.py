"""ImageNet weights for networks: from torchvision, or from a file where there is no internet."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from covidxr.config import variable
from covidxr.errors import ConfigError, ModelError
from covidxr.models.architectures import Architecture, architecture
from covidxr.models.checkpoints import StateDict


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
    if not row.imagenet:
        raise ConfigError(f"there are no ImageNet weights for {row.name}; use init random")
    try:
        return _fetch(row.imagenet)
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"cannot download the ImageNet weights of {row.name} ({error}); give a file of them by --init or COVIDXR_PRETRAINED"
        ) from error


def _fetch(name: str) -> StateDict:
    weights = torchvision.models.get_weight(name)
    return dict(weights.get_state_dict(check_hash=True, progress=False, weights_only=True))
