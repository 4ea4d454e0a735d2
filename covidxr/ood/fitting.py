"""The gate before a model: fitted on train, its threshold chosen on val, judged on test, on foreign and on altered pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from covidxr.cards import GateFigures
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import SplitData
from covidxr.errors import ConfigError, ImageError
from covidxr.images.reading import read_image
from covidxr.lungs.inputs import input_pixels
from covidxr.metrics.intervals import proportion_interval
from covidxr.metrics.shortcuts import ranking_interval
from covidxr.models.classifier import Classifier
from covidxr.ood.detector import SPACES, OodDetector, to_bytes
from covidxr.ood.feature_space import ACCEPTED, distances, fit_space
from covidxr.ood.foreign_images import PHANTOM, foreign_images
from covidxr.ood.image_stats import Summary, describe, obvious_faults, summarize
from covidxr.records import GreyImage, Interval, Scores

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


def fit_detector(model: Classifier, data: SplitData) -> tuple[bytes, GateFigures]:
    """Return the file of a model's gate, and what it is worth. Raises ConfigError when a class has no training picture."""
    split = data.split
    train, val, test = (split.rows(name) for name in ("train", "val", "test"))
    train = np.sort(np.random.default_rng(0).permutation(train)[:_MOST_TRAINING])
    inputs = input_pixels(
        model.card.preprocessing, model.segmenter, data.dataset, skip_unreadable=True
    )

    def measure(rows: npt.NDArray[np.int64]) -> tuple[Measured, list[Summary]]:
        names = [split.files[i] for i in rows]
        looks = [summarize(image) for image in _read(data.dataset, names)]
        return (model.features(inputs.array, inputs.rows(names)), *describe(looks)), looks

    spaces = (fit_space(numbers, split.labels[train]) for numbers in measure(train)[0])
    features, layouts, textures = spaces
    detector = OodDetector(features, layouts, textures, thresholds={})
    own = _distances(detector, measure(val)[0])
    # Each at its own 95 %, then all as far out as lets 95 % pass every one of them.
    limits = np.quantile(own, ACCEPTED, axis=0)
    limits *= np.quantile((own / limits).max(axis=1), ACCEPTED)

    def turned_away(
        kinds: Sequence[str], images: Sequence[GreyImage]
    ) -> tuple[npt.NDArray[np.float64], Shares]:
        looks = [summarize(image) for image in images]
        far = (
            _distances(detector, (_seen_features(model, images), *describe(looks))) / limits
        ).max(axis=1)
        refused = (far > 1) | _faulty(looks, detector)
        return far, {
            kind: _share(refused[np.array(kinds) == kind]) for kind in dict.fromkeys(kinds)
        }

    # To a model of phantoms they are nothing foreign.
    foreign = [
        (kind, image)
        for kind, image in foreign_images()
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
    near = (_distances(detector, measured) / limits).max(axis=1)
    far, shares = turned_away(*zip(*foreign, strict=True))
    groups = None if split.bound_groups is None else split.bound_groups[test]
    # Foreign pictures are each a group of their own.
    apart = (
        None if groups is None else np.concatenate([groups, groups.max() + 1 + np.arange(len(far))])
    )
    content = to_bytes(detector)
    return content, GateFigures(
        dict(zip(SPACES, limits.tolist(), strict=True)),
        hashlib.sha256(content).hexdigest(),
        _share((near > 1) | _faulty(looks, detector), groups)[1],
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


def _faulty(looks: Sequence[Summary], detector: OodDetector) -> npt.NDArray[np.bool_]:
    """(N,) whether something plain is wrong with each picture."""
    layouts, _ = describe(looks)
    return np.array(
        [
            bool(obvious_faults(look, own, detector.layout.centre))
            for look, own in zip(looks, layouts, strict=True)
        ]
    )


def _distances(detector: OodDetector, measured: Measured) -> npt.NDArray[np.float64]:
    """(N, 3) distances; where the features are not numbers, having been seen by no network, the most."""
    spaces = (detector.features, detector.layout, detector.texture)
    found = np.stack(
        [distances(space, numbers) for space, numbers in zip(spaces, measured, strict=True)], axis=1
    )
    return np.where(np.isnan(found), np.finfo(np.float64).max, found)


def _seen_features(model: Classifier, images: Sequence[GreyImage]) -> Scores:
    """(N, D) features of pictures, (H, W) uint8 each; not a number where the model sees nothing of one, having no lungs."""
    shown = []
    blank = np.zeros((model.card.preprocessing.image_size,) * 2, dtype=np.uint8)
    seen = np.ones(len(images), dtype=bool)
    for i, image in enumerate(images):
        try:
            shown.append(model.view(image).pixels)
        except ImageError:
            shown.append(blank)
            seen[i] = False
    features = model.features(np.stack(shown), np.arange(len(shown)))
    return np.where(seen[:, None], features, np.nan)


def _share(
    hits: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64] | None = None
) -> tuple[int, Interval]:
    """The number of pictures, and the share of them that is hit."""
    found = proportion_interval(hits, groups)
    if found is None:
        raise ConfigError("there are no pictures to judge a gate on")
    return len(hits), found
