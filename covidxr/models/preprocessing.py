"""Grey pixels to network input, and the random changes made to training batches, as tensors."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from covidxr.records import Augmentation, Preprocessing


def to_unit(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """(B, S, S) uint8 -> (B, 1, S, S) float32 in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).unsqueeze(1).float().div_(255)


def normalise(grey: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B, 1, S, S) in [0, 1] -> (B, 3, S, S), each channel less its mean over its standard deviation, channels last in memory."""
    mean = grey.new_tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = grey.new_tensor(preprocessing.std).view(1, 3, 1, 1)
    return ((grey - mean) / std).contiguous(memory_format=torch.channels_last)


def to_input(pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """(B, S, S) uint8 from `fit_to_square` -> (B, 3, S, S) network input."""
    return normalise(to_unit(pixels), preprocessing)


def draw_changes(
    n: int, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the changes for `n` images: (n, 2, 3) affine maps of output to input places, and (n, 2) contrast and brightness."""
    uniform = torch.rand(n, 7, generator=generator) * 2 - 1
    angle = uniform[:, 0] * math.radians(augmentation.rotation_degrees)
    scale = torch.exp(uniform[:, 1] * math.log1p(augmentation.zoom))
    mirror = (
        torch.where(uniform[:, 2] < 0, -1.0, 1.0) if augmentation.horizontal_flip else torch.ones(n)
    )
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # The grid spans -1 to 1, so a shift of a share of the edge is twice that share.
    shift = uniform[:, 3:5] * 2 * augmentation.shift
    affine = torch.stack(
        [
            torch.stack([cos * mirror, -sin, shift[:, 0]], 1),
            torch.stack([sin * mirror, cos, shift[:, 1]], 1),
        ],
        1,
    )
    return affine, uniform[:, 5:7] * augmentation.contrast


def apply_changes(grey: Tensor, affine: Tensor, tone: Tensor) -> Tensor:
    """Rotate, flip, zoom and shift (B, 1, S, S) with black outside, then change contrast about mid-grey and brightness."""
    grid = F.affine_grid(affine, list(grey.shape), align_corners=False)
    moved = F.grid_sample(grey, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if not tone.any():
        return moved
    contrast, brightness = tone[:, 0].view(-1, 1, 1, 1), tone[:, 1].view(-1, 1, 1, 1)
    return ((moved - 0.5) * (1 + contrast) + 0.5 + brightness / 2).clamp_(0, 1)
