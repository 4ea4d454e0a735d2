"""The out-of-distribution (OOD) detector of a model, and its file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from covidxr.cards import DetectorMetrics
from covidxr.errors import ModelError
from covidxr.models.store import DETECTOR_FILE
from covidxr.ood.feature_space import FeatureSpace, distances
from covidxr.ood.image_stats import Summary, describe, obvious_faults, summarize
from covidxr.records import GrayImage, Scores

SPACES = ("features", "layout", "texture")
_REASONS = {
    "features": "Network features outside the training distribution",
    "layout": "Intensity layout atypical for a frontal chest X-ray",
    "texture": "Noise or sharpness atypical of the training images",
}
_PARTS = tuple(field.name for field in fields(FeatureSpace))


@dataclass(frozen=True, slots=True, eq=False)
class OodDetector:
    """Distances to the training images in three spaces, with the largest accepted distances.

    The spaces are the network's penultimate features, and the layouts and textures of `describe`.
    """

    features: FeatureSpace
    layout: FeatureSpace
    texture: FeatureSpace
    thresholds: dict[str, float]
    """Largest accepted distance, by space."""

    def summarize(self, image: GrayImage) -> Summary:
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
        ratios = {
            space: distances(getattr(self, space), values) / self.thresholds[space]
            for space, values in measured.items()
        }
        rejections = []
        for i, summary in enumerate(summaries):
            # NaN is out of distribution, too.
            far = tuple(
                f"{_REASONS[space]} ({ratio[i]:.2f} times the limit)."
                for space, ratio in ratios.items()
                if not ratio[i] <= 1
            )
            faults = obvious_faults(summary, layouts[i], self.layout.centre, unusual=bool(far))
            rejections.append(faults + far)
        return rejections


def to_bytes(detector: OodDetector) -> bytes:
    """Return the content of a detector's file, in single precision."""
    arrays = {
        f"{space}.{part}": getattr(getattr(detector, space), part)
        for space in SPACES
        for part in _PARTS
    }
    return save(
        {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    )


def load_detector(folder: Path, results: DetectorMetrics) -> OodDetector:
    """Read the OOD detector of a model.

    Args:
        folder: Of the model.
        results: From the model's card.

    Raises:
        ModelError: When it is missing or damaged, or is not the one in the card.
    """
    remedy = f"restore {DETECTOR_FILE}, or fit the detector again with `covidxr audit`"
    try:
        content = (folder / DETECTOR_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != results.sha256:
            raise ModelError(
                f"the OOD detector of {folder.name} is not the one in its card; {remedy}"
            )
        arrays = load(content)
        parts = {
            space: {part: arrays[f"{space}.{part}"].astype(np.float64) for part in _PARTS}
            for space in SPACES
        }
        spaces = {space: FeatureSpace(**own) for space, own in parts.items()}
        return OodDetector(**spaces, thresholds=results.thresholds)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"the OOD detector of {folder.name} cannot be read: {error}; {remedy}"
        ) from error
