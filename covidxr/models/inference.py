"""Probabilities from a network, in batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from covidxr.models.preprocessing import to_input
from covidxr.records import Preprocessing, Scores


def predict_scores(
    network: nn.Module,
    pixels: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    preprocessing: Preprocessing,
    temperature: float = 1.0,
    batch_size: int = 64,
    progress: str | None = None,
) -> Scores:
    """Return softmax probabilities.

    Args:
        network: In eval mode.
        pixels: (N, S, S) uint8.
        rows: Which of them.
        preprocessing: Of the model.
        temperature: Divisor of the logits (Guo et al. 2017).
        batch_size: Images per pass through the network.
        progress: Label of a progress bar; None for no bar.

    Returns:
        (len(rows), C) probabilities.
    """
    device = next(network.parameters()).device
    batches = range(0, len(rows), batch_size)
    scores = []
    with torch.inference_mode():
        for start in tqdm(batches, desc=progress, disable=None if progress else True):
            batch = pixels[rows[start : start + batch_size]]
            x = to_input(batch, preprocessing).to(device)  # (B, 3, S, S)
            scores.append(torch.softmax(network(x).double() / temperature, dim=1).cpu().numpy())
    return np.concatenate(scores)


def scores_and_features(
    network: nn.Module,
    head: str,
    pixels: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    preprocessing: Preprocessing,
    temperature: float = 1.0,
) -> tuple[Scores, npt.NDArray[np.float64]]:
    """Return probabilities and penultimate features in one pass through the network.

    Args:
        network: In eval mode.
        head: Prefix of its head's parameter names, as in `Architecture`.
        pixels: (N, S, S) uint8.
        rows: Which of them.
        preprocessing: Of the model.
        temperature: Divisor of the logits.

    Returns:
        (len(rows), C) softmax probabilities, and (len(rows), D) inputs of the head.
    """
    features: list[npt.NDArray[np.float64]] = []

    def keep(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        features.append(arguments[0].flatten(1).double().cpu().numpy())

    handle = network.get_submodule(head.rstrip(".")).register_forward_pre_hook(keep)
    try:
        scores = predict_scores(network, pixels, rows, preprocessing, temperature)
    finally:
        handle.remove()
    return scores, np.concatenate(features)
