"""Preprocessing of gray values to network input, and augmentation of training batches."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from covidxr.records import Augmentation, Preprocessing


def to_unit(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Scale gray values: (B, S, S) uint8 -> (B, 1, S, S) float32 in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).unsqueeze(1).float().div_(255)


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Standardize each channel: (B, 1, S, S) in [0, 1] -> (B, 3, S, S), channels last in memory."""
    mean = images.new_tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = images.new_tensor(preprocessing.std).view(1, 3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def to_input(pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """Turn images from `fit_to_square`, (B, S, S) uint8, into network input (B, 3, S, S)."""
    return normalize(to_unit(pixels), preprocessing)


def draw_changes(
    n: int, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the random changes of images.

    Args:
        n: Number of images.
        augmentation: Ranges of the changes.
        generator: Of the random numbers.

    Returns:
        Affine transforms of output to input coordinates (n, 2, 3), and changes of contrast and
        brightness (n, 2).
    """
    uniform = torch.rand(n, 7, generator=generator) * 2 - 1
    angle = uniform[:, 0] * math.radians(augmentation.rotation_degrees)
    scale = torch.exp(uniform[:, 1] * math.log1p(augmentation.zoom))
    flip = (
        torch.where(uniform[:, 2] < 0, -1.0, 1.0) if augmentation.horizontal_flip else torch.ones(n)
    )
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Coordinates run from -1 to 1, so a share of the edge is twice that share.
    shift = uniform[:, 3:5] * 2 * augmentation.shift
    across = torch.stack([cos * flip, -sin, shift[:, 0]], 1)
    down = torch.stack([sin * flip, cos, shift[:, 1]], 1)
    return torch.stack([across, down], 1), uniform[:, 5:7] * augmentation.contrast


def apply_changes(images: Tensor, affine: Tensor, tone: Tensor) -> Tensor:
    """Rotate, flip, zoom and shift images, then change contrast and brightness.

    Args:
        images: (B, 1, S, S) in [0, 1].
        affine: (B, 2, 3) as from `draw_changes`; what is outside the image is black.
        tone: (B, 2) as from `draw_changes`; contrast changes about 0.5.
    """
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if not tone.any():
        return moved
    contrast, brightness = tone[:, 0].view(-1, 1, 1, 1), tone[:, 1].view(-1, 1, 1, 1)
    return ((moved - 0.5) * (1 + contrast) + 0.5 + brightness / 2).clamp_(0, 1)
