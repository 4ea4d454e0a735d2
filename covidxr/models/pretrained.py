"""ImageNet weights, from torchvision or from a file."""

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
    """Load ImageNet weights into all of a network but its head.

    Args:
        network: With random weights.
        name: Of its architecture.
        file: Safetensors file; None for the file that COVIDXR_PRETRAINED names, else
            torchvision's own, hash-checked. Residual blocks that it lacks start as the identity.

    Returns:
        A phrase that says where the weights are from.

    Raises:
        ConfigError: When there are no weights, or they cannot be downloaded.
        ModelError: When a file cannot be read or does not fit.
    """
    row = architecture(name)
    named = variable("COVIDXR_PRETRAINED")
    chosen = file or (Path(named) if named else None)
    if chosen is not None:
        weights = _read_weights(chosen)
        origin = f"weights from the file {chosen.parent.name}/{chosen.name}"
    else:
        weights = _download(row)
        origin = f"ImageNet weights of torchvision ({row.imagenet})"
    body = {
        k: v.float() if v.is_floating_point() else v
        for k, v in weights.items()
        if not k.startswith(row.head)
    }
    missing, unexpected = network.load_state_dict(body, strict=False)
    identity = sorted({k.rsplit(".", 2)[0] for k in missing if not k.startswith(row.head)})
    if unexpected or any(not _start_as_identity(network, block) for block in identity):
        raise ModelError(
            f"the weights do not fit {name}: {len(missing)} tensors are missing (such as "
            f"{', '.join(missing[:2])}) and {len(unexpected)} are unexpected; use weights of "
            f"torchvision's {name}"
        )
    if identity:
        origin += f"; {', '.join(identity)} not included and initialized as the identity"
    return origin


def _start_as_identity(network: nn.Module, name: str) -> bool:
    """Make a ResNet block the identity; False for a block that downsamples or is none."""
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
            f"there is no weights file {file}; name one with --init or COVIDXR_PRETRAINED"
        ) from None
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is not a safetensors file ({error}); pickled weights are rejected, convert "
            "them to safetensors"
        ) from error


def _download(row: Architecture) -> StateDict:
    if not row.imagenet:
        raise ConfigError(f"there are no ImageNet weights for {row.name}; use init random")
    try:
        return _fetch(row.imagenet)
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"cannot download the ImageNet weights of {row.name} ({error}); name a file of weights "
            "with --init or COVIDXR_PRETRAINED"
        ) from error


def _fetch(name: str) -> StateDict:
    weights = torchvision.models.get_weight(name)
    return dict(weights.get_state_dict(check_hash=True, progress=False, weights_only=True))
