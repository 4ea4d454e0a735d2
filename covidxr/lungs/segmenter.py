"""The lung segmenter: MONAI's residual U-Net, small, and its training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from covidxr.cards import SegmenterCard, SegmenterRecipe
from covidxr.images.radiograph import fit_to_square
from covidxr.lungs.masks import LungMask, only_lungs, tidy_mask
from covidxr.models.checkpoints import StateDict
from covidxr.models.classifier import View
from covidxr.models.preprocessing import apply_changes, draw_changes, to_unit
from covidxr.models.training import make_fabric
from covidxr.records import GrayImage


@dataclass(frozen=True, slots=True, eq=False)
class LungSegmenter:
    """A lung segmenter ready for use."""

    card: SegmenterCard
    network: nn.Module

    @property
    def sha256(self) -> str:
        """Hash of its weights."""
        return self.card.weights_sha256

    def mask(self, image: GrayImage) -> LungMask:
        """Find the lungs in an image.

        Always one image at a time: another batch size changes the order of summation, and with it
        the edge of a mask, between training and serving.

        Args:
            image: (H, W) uint8.

        Returns:
            (256, 256) bool on the image padded to a square; all false when no lungs are found.
        """
        x = to_unit(fit_to_square(image, self.card.recipe.image_size)[None])
        with torch.inference_mode():
            probability = torch.sigmoid(self.network(x))[0, 0].numpy()
        return tidy_mask(probability)

    def view(self, image: GrayImage, size: int) -> View | None:
        """Return the lungs of an image, (H, W) uint8, at (size, size); None when none are found."""
        mask = self.mask(image)
        return only_lungs(image, mask, size) if mask.any() else None


def build_segmenter() -> nn.Module:
    """Return the network with random weights: (B, 1, S, S) in [0, 1] -> (B, 1, S, S) logits.

    S must be divisible by 16. Ronneberger et al. 2015, "U-Net"; with residual units: Kerfoot et
    al. 2018, "Left-ventricle quantification using residual U-Net".
    """
    # Takes seconds to import, and no classifier needs it.
    from monai.networks.nets.unet import UNet

    network: nn.Module = UNet(
        2, 1, 1, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2
    )
    return network


def fit_segmenter(
    recipe: SegmenterRecipe,
    pixels: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.bool_],
    val: tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]],
    report: Callable[[dict[str, Any]], None],
) -> tuple[StateDict, int, float]:
    """Train the segmenter; the best epoch is the one with the highest Dice on val.

    Loss: Dice and cross entropy in equal parts (Isensee et al. 2021, "nnU-Net", Nat Methods
    18:203).

    Args:
        recipe: Settings of the training.
        pixels: (N, S, S) of train.
        masks: (N, S, S) of train.
        val: The same of val.
        report: Receives epoch, epochs, train_loss and val_dice after each epoch.

    Returns:
        The weights of the best epoch, its number, and the seconds that the training took.
    """
    from monai.losses.dice import DiceCELoss

    fabric = make_fabric()
    torch.manual_seed(recipe.seed)
    network = build_segmenter().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = len(pixels) // recipe.batch_size
    schedule = OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=steps * recipe.epochs)
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)
    loss_of = DiceCELoss(sigmoid=True)
    best: tuple[float, int, StateDict] = (-1.0, 0, {})
    started = time.monotonic()
    for epoch in range(1, recipe.epochs + 1):
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
        order = torch.randperm(len(pixels), generator=generator).numpy()
        wrapped.train()
        total = 0.0
        for step in tqdm(range(steps), desc=f"epoch {epoch}/{recipe.epochs}", disable=None):
            rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            affine, tone = draw_changes(len(rows), recipe.augmentation, generator)
            x = apply_changes(to_unit(pixels[rows]), affine, tone)  # (B, 1, S, S)
            y = apply_changes(
                torch.from_numpy(masks[rows]).unsqueeze(1).float(), affine, torch.zeros_like(tone)
            )
            loss = loss_of(wrapped(x.to(fabric.device)).float(), y.to(fabric.device))
            wrapped_optimizer.zero_grad()
            fabric.backward(loss)
            wrapped_optimizer.step()
            schedule.step()
            total += float(loss.detach())
        network.eval()
        dice = float(_dice(network, *val))
        report(
            {"epoch": epoch, "epochs": recipe.epochs, "train_loss": total / steps, "val_dice": dice}
        )
        if dice > best[0]:
            weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
            best = dice, epoch, weights
    return best[2], best[1], time.monotonic() - started


def _dice(
    network: nn.Module, pixels: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]
) -> Tensor:
    """Return the mean Dice over images of the network's output, without `tidy_mask`."""
    scores = []
    device = next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            predicted = network(to_unit(pixels[start : start + 64]).to(device))[:, 0] >= 0
            true = torch.from_numpy(masks[start : start + 64]).to(device)
            total = predicted.sum((1, 2)) + true.sum((1, 2))
            scores.append(2 * (predicted & true).sum((1, 2)) / total.clamp(min=1))
    return torch.cat(scores).mean()
