"""The gate before a model: fitted on train, its threshold chosen on val, judged on test, on foreign and on altered pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from covidxr.cards import GateFigures, ModelCard
from covidxr.config import weights_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.split_data import SplitData, split_data
from covidxr.errors import ConfigError, ImageError
from covidxr.evaluation.stored import check_dataset
from covidxr.images.reading import read_image
from covidxr.lungs.crops import seen_pixels
from covidxr.metrics.intervals import proportion_interval
from covidxr.metrics.shortcuts import ranking_interval
from covidxr.models import store
from covidxr.models.store import LoadedModel
from covidxr.ood.feature_space import ACCEPTED, distances, fit_space
from covidxr.ood.foreign_images import PHANTOM, foreign_pictures
from covidxr.ood.image_stats import Look, look_of, measure_looks, plain_faults
from covidxr.prediction.loading import load_model
from covidxr.records import GreyImage, Interval, Scores

if TYPE_CHECKING:
    from covidxr.ood.detector import Gate

Measured = tuple[Scores, Scores, Scores]
"""Of N pictures: features (N, D), layouts (N, 256), textures (N, 63)."""
Shares = dict[str, tuple[int, Interval]]
"""By kind of picture: their number, and the share that does not pass."""
_MOST_TRAINING = 3000
"""Training pictures that the gate is fitted on, drawn with a fixed seed: some five for each feature of a ResNet-18."""
_ALTERED = 100
"""Test pictures that are altered, drawn with a fixed seed."""
_ALTERATIONS: dict[str, Callable[[GreyImage], GreyImage]] = {
    "inverted": lambda image: 255 - image,
    "upside down": np.flipud,
    "on its side": np.rot90,
    "a quarter of it": lambda image: image[: image.shape[0] // 2, : image.shape[1] // 2],
}
"""What may become of a radiograph on its way to a model."""


def fit_gate(model_id: str, data: Path | str) -> ModelCard:
    """Fit a stored model's gate on the dataset that it was judged on, judge it, and write it beside the weights.

    Raises DatasetError for another dataset.
    """
    model = load_model(model_id, gated=False)
    divided = split_data(data, model.card.split, skip_unreadable=True, excluded=model.card.excluded)
    check_dataset(model.card, divided.dataset)
    content, figures = make_gate(model, divided)
    card = replace(store.read_card(weights_folder() / model_id), gate=figures)
    store.update_card(weights_folder(), card, content)
    return card


def make_gate(model: LoadedModel, data: SplitData) -> tuple[bytes, GateFigures]:
    """Return the file of a model's gate, and what it is worth. Raises ConfigError when a class has no training picture."""
    from covidxr.ood.detector import SPACES, Gate, to_bytes

    split = data.split
    train, val, test = (split.rows(name) for name in ("train", "val", "test"))
    train = np.sort(np.random.default_rng(0).permutation(train)[:_MOST_TRAINING])
    seen = seen_pixels(model.card.preprocessing, data.dataset, skip_unreadable=True)

    def measure(rows: npt.NDArray[np.int64]) -> tuple[Measured, list[Look]]:
        names = [split.files[i] for i in rows]
        looks = [look_of(image) for image in _read(data.dataset, names)]
        return (_features(model, seen.array, seen.rows(names)), *measure_looks(looks)), looks

    gate = Gate(*(fit_space(numbers, split.labels[train]) for numbers in measure(train)[0]))
    own = _distances(gate, measure(val)[0])
    # Each at its own 95 %, then all as far out as lets 95 % pass every one of them.
    limits = np.quantile(own, ACCEPTED, axis=0)
    limits *= np.quantile((own / limits).max(axis=1), ACCEPTED)

    def turned_away(
        kinds: Sequence[str], images: Sequence[GreyImage]
    ) -> tuple[npt.NDArray[np.float64], Shares]:
        looks = [look_of(image) for image in images]
        far = (
            _distances(gate, (_seen_features(model, images), *measure_looks(looks))) / limits
        ).max(axis=1)
        refused = (far > 1) | _faulty(looks, gate)
        return far, {
            kind: _share(refused[np.array(kinds) == kind]) for kind in dict.fromkeys(kinds)
        }

    # To a model of phantoms they are nothing foreign.
    foreign = [
        (kind, image)
        for kind, image in foreign_pictures()
        if kind != PHANTOM or not model.card.synthetic
    ]
    some = np.random.default_rng(0).permutation(test)[:_ALTERED]
    kept = list(_read(data.dataset, [split.files[i] for i in some]))
    altered = [
        (kind, np.ascontiguousarray(alter(image)))
        for kind, alter in _ALTERATIONS.items()
        for image in kept
    ]
    measured, looks = measure(test)
    near = (_distances(gate, measured) / limits).max(axis=1)
    far, shares = turned_away(*zip(*foreign, strict=True))
    groups = None if split.bound_groups is None else split.bound_groups[test]
    # Foreign pictures are each a group of their own.
    apart = (
        None if groups is None else np.concatenate([groups, groups.max() + 1 + np.arange(len(far))])
    )
    content = to_bytes(gate)
    return content, GateFigures(
        dict(zip(SPACES, limits.tolist(), strict=True)),
        hashlib.sha256(content).hexdigest(),
        _share((near > 1) | _faulty(looks, gate), groups)[1],
        ranking_interval(
            np.repeat([False, True], [len(near), len(far)]), np.concatenate([near, far]), apart
        ),
        shares,
        turned_away(*zip(*altered, strict=True))[1],
    )


def _read(dataset: Dataset, names: Sequence[str]) -> Iterator[GreyImage]:
    with dataset.files() as files:
        for name in names:
            yield read_image(files.read(name), name)


def _faulty(looks: Sequence[Look], gate: Gate) -> npt.NDArray[np.bool_]:
    """(N,) whether something plain is wrong with each picture."""
    layouts, _ = measure_looks(looks)
    return np.array(
        [
            bool(plain_faults(look, own, gate.layout.centre))
            for look, own in zip(looks, layouts, strict=True)
        ]
    )


def _distances(gate: Gate, measured: Measured) -> npt.NDArray[np.float64]:
    """(N, 3) distances; where the features are not numbers, having been seen by no network, the most."""
    spaces = (gate.features, gate.layout, gate.texture)
    found = np.stack(
        [distances(space, numbers) for space, numbers in zip(spaces, measured, strict=True)], axis=1
    )
    return np.where(np.isnan(found), np.finfo(np.float64).max, found)


def _seen_features(model: LoadedModel, images: Sequence[GreyImage]) -> Scores:
    """(N, D) features of pictures, (H, W) uint8 each; not a number where the model sees nothing of one, having no lungs."""
    from covidxr.lungs.views import view_of

    shown = []
    blank = np.zeros((model.card.preprocessing.image_size,) * 2, dtype=np.uint8)
    seen = np.ones(len(images), dtype=bool)
    for i, image in enumerate(images):
        try:
            shown.append(view_of(model, image).pixels)
        except ImageError:
            shown.append(blank)
            seen[i] = False
    features = _features(model, np.stack(shown), np.arange(len(shown)))
    return np.where(seen[:, None], features, np.nan)


def _features(
    model: LoadedModel, pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]
) -> Scores:
    from covidxr.models.architectures import architecture
    from covidxr.models.inference import penultimate_features

    head = architecture(model.card.architecture).head
    return penultimate_features(model.network, head, pixels, rows, model.card.preprocessing)


def _share(
    hits: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64] | None = None
) -> tuple[int, Interval]:
    """The number of pictures, and the share of them that is hit."""
    found = proportion_interval(hits, groups)
    if found is None:
        raise ConfigError("there are no pictures to judge a gate on")
    return len(hits), found
