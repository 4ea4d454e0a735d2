"""The gate before a model, "may it judge this picture?": what it compares a picture with, in a file beside the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from covidxr.cards import GateFigures
from covidxr.errors import ModelError
from covidxr.models.store import GATE
from covidxr.ood.feature_space import FeatureSpace, distances
from covidxr.ood.image_stats import Summary, describe, obvious_faults, summarize
from covidxr.records import GreyImage, Scores

SPACES = ("features", "layout", "texture")
_FAR = {
    "features": "What the network sees in it is unlike the radiographs that it learned from",
    "layout": "Light and dark do not lie as in the radiographs that the model learned from",
    "texture": "Its grain and its sharpness are not those of the radiographs that the model learned from",
}
_PARTS = tuple(field.name for field in fields(FeatureSpace))


@dataclass(frozen=True, slots=True, eq=False)
class OodDetector:
    """Distances from the training images in three spaces, and the largest that is accepted in each.

    The spaces: the network's penultimate features, and the layouts and textures of `describe`.
    """

    features: FeatureSpace
    layout: FeatureSpace
    texture: FeatureSpace
    thresholds: dict[str, float]
    """Greatest accepted distance, by space."""

    def summarize(self, image: GreyImage) -> Summary:
        """Return what an image, (H, W) uint8, is compared by, apart from the network's features."""
        return summarize(image)

    def rejections(self, features: Scores, summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
        """Return for each image why it is rejected, one sentence per reason.

        Args:
            features: (N, D) penultimate features.
            summaries: N results of `summarize`.
        """
        layouts, textures = describe(summaries)
        measured = {"layout": layouts, "texture": textures, "features": features}
        times = {
            space: distances(getattr(self, space), numbers) / self.thresholds[space]
            for space, numbers in measured.items()
        }
        found = []
        for i, summary in enumerate(summaries):
            # A distance that is not a number is out of distribution, too.
            far = tuple(
                f"{_FAR[space]} ({own[i]:.2f} times the limit)."
                for space, own in times.items()
                if not own[i] <= 1
            )
            center = self.layout.centre
            found.append(obvious_faults(summary, layouts[i], center, unusual=bool(far)) + far)
        return found


def to_bytes(detector: OodDetector) -> bytes:
    """Return a gate as the file beside a model's weights, in single precision."""
    arrays = {
        f"{space}.{part}": getattr(getattr(detector, space), part)
        for space in SPACES
        for part in _PARTS
    }
    return save(
        {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    )


def load_detector(folder: Path, figures: GateFigures) -> OodDetector:
    """Read a model's gate. Raises ModelError when it is missing, damaged or not the one that its card was written for."""
    try:
        content = (folder / GATE).read_bytes()
        if hashlib.sha256(content).hexdigest() != figures.sha256:
            raise ModelError(
                f"the gate of {folder.name} is not the one its card was written for; restore {GATE}, or fit it by `covidxr audit`"
            )
        arrays = load(content)
        parts = {
            space: {part: arrays[f"{space}.{part}"].astype(np.float64) for part in _PARTS}
            for space in SPACES
        }
        spaces = {space: FeatureSpace(**own) for space, own in parts.items()}
        return OodDetector(**spaces, thresholds=figures.thresholds)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"the gate of {folder.name} cannot be read: {error}; restore {GATE}, or fit it by `covidxr audit`"
        ) from error
