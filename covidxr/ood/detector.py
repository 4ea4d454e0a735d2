"""The gate before a model, "may it judge this picture?": what it compares a picture with, in a file beside the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from covidxr.errors import ModelError
from covidxr.models.architectures import architecture
from covidxr.models.inference import scores_and_features
from covidxr.models.store import GATE, LoadedModel
from covidxr.ood.feature_space import FeatureSpace, distances
from covidxr.ood.image_stats import Look, measure_looks, plain_faults
from covidxr.records import Scores

SPACES = ("features", "layout", "texture")
_FAR = {
    "features": "What the network sees in it is unlike the radiographs that it learned from",
    "layout": "Light and dark do not lie as in the radiographs that the model learned from",
    "texture": "Its grain and its sharpness are not those of the radiographs that the model learned from",
}
_PARTS = tuple(field.name for field in fields(FeatureSpace))


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """The training pictures as the network's features know them, and as their own layouts and textures (`measure_looks`) do."""

    features: FeatureSpace
    layout: FeatureSpace
    texture: FeatureSpace


def to_bytes(gate: Gate) -> bytes:
    """Return a gate as the file beside a model's weights, in single precision."""
    arrays = {
        f"{space}.{part}": getattr(getattr(gate, space), part)
        for space in SPACES
        for part in _PARTS
    }
    return save(
        {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    )


def load_gate(folder: Path, sha256: str) -> Gate:
    """Read a model's gate. Raises ModelError when it is missing, damaged or not the one that its card was written for."""
    try:
        content = (folder / GATE).read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(
                f"the gate of {folder.name} is not the one its card was written for; restore {GATE}, or fit it by `covidxr audit`"
            )
        arrays = load(content)
        parts = {
            space: {part: arrays[f"{space}.{part}"].astype(np.float64) for part in _PARTS}
            for space in SPACES
        }
        return Gate(**{space: FeatureSpace(**own) for space, own in parts.items()})
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"the gate of {folder.name} cannot be read: {error}; restore {GATE}, or fit it by `covidxr audit`"
        ) from error


def judge(
    model: LoadedModel, pixels: npt.NDArray[np.uint8], looks: Sequence[Look]
) -> tuple[Scores, list[tuple[str, ...]]]:
    """Return the calibrated probabilities (N, C) of pictures, and for each why the model may not judge it, a sentence a reason.

    pixels: (N, S, S) uint8, of `view_of`.  looks: N, of `look_of`.  One pass through the network, under the model's lock. Without
    a gate, nothing is said against any.
    """
    card, head = model.card, architecture(model.card.architecture).head
    with model.lock:
        scores, features = scores_and_features(
            model.network,
            head,
            pixels,
            np.arange(len(pixels)),
            card.preprocessing,
            card.temperature,
        )
    if model.gate is None or card.gate is None:
        return scores, [()] * len(pixels)
    layouts, textures = measure_looks(looks)
    measured = {"layout": layouts, "texture": textures, "features": features}
    times = {
        space: distances(getattr(model.gate, space), numbers) / card.gate.thresholds[space]
        for space, numbers in measured.items()
    }
    refusals = []
    for i, look in enumerate(looks):
        # What is no number is far, too.
        far = tuple(
            f"{_FAR[space]} ({own[i]:.2f} times the limit)."
            for space, own in times.items()
            if not own[i] <= 1
        )
        refusals.append(
            plain_faults(look, layouts[i], model.gate.layout.centre, unusual=bool(far)) + far
        )
    return scores, refusals
