"""Fitting an OOD detector: on train, with thresholds from val, evaluated on test and OOD images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from covidxr.cards import DetectorMetrics
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import SplitData
from covidxr.errors import ConfigError, ImageError
from covidxr.images.reading import read_image
from covidxr.lungs.inputs import input_pixels
from covidxr.metrics.intervals import proportion_interval
from covidxr.metrics.shortcuts import ranking_interval
from covidxr.models.classifier import Classifier
from covidxr.ood.detector import SPACES, OodDetector, to_bytes
from covidxr.ood.examples import PHANTOM, ood_examples
from covidxr.ood.feature_space import ACCEPTED, distances, fit_space
from covidxr.ood.image_stats import Summary, describe, obvious_faults, summarize
from covidxr.records import GrayImage, Interval, Scores

Measured = tuple[Scores, Scores, Scores]
"""Features (N, D), layouts (N, 256) and textures (N, 63) of N images."""
Shares = dict[str, tuple[int, Interval]]
"""By type of image: their number, and the share that is rejected."""
_MOST_TRAINING = 3000
"""Training images that the detector is fitted on: about six per feature of a ResNet-18."""
_ALTERED = 100
"""Test images that are altered."""
_ALTERATIONS: dict[str, Callable[[GrayImage], GrayImage]] = {
    "inverted": lambda image: 255 - image,
    "upside down": np.flipud,
    "on its side": np.rot90,
    "a quarter of it": lambda image: image[: image.shape[0] // 2, : image.shape[1] // 2],
}
"""Alterations after which a radiograph must be rejected; their names are stored in cards."""


def fit_detector(model: Classifier, data: SplitData) -> tuple[bytes, DetectorMetrics]:
    """Fit the OOD detector of a model and evaluate it.

    Args:
        model: Without a detector.
        data: The dataset as split for the model.

    Returns:
        The content of the detector's file, and its performance.

    Raises:
        ConfigError: When a class has no training image.
    """
    split = data.split
    train, val, test = (split.rows(name) for name in ("train", "val", "test"))
    train = np.sort(np.random.default_rng(0).permutation(train)[:_MOST_TRAINING])
    inputs = input_pixels(
        model.card.preprocessing, model.segmenter, data.dataset, skip_unreadable=True
    )

    def measure(rows: npt.NDArray[np.int64]) -> tuple[Measured, list[Summary]]:
        names = [split.files[i] for i in rows]
        summaries = [summarize(image) for image in _read(data.dataset, names)]
        features = model.features(inputs.array, inputs.rows(names))
        return (features, *describe(summaries)), summaries

    spaces = (fit_space(values, split.labels[train]) for values in measure(train)[0])
    features, layouts, textures = spaces
    detector = OodDetector(features, layouts, textures, thresholds={})
    own = _distances(detector, measure(val)[0])
    # Each space accepts 95%; all limits are then scaled so that 95% pass all three.
    limits = np.quantile(own, ACCEPTED, axis=0)
    limits *= np.quantile((own / limits).max(axis=1), ACCEPTED)

    def evaluate(examples: Sequence[tuple[str, GrayImage]]) -> tuple[Scores, Shares]:
        types, images = zip(*examples, strict=True)
        summaries = [summarize(image) for image in images]
        measured = _features_of(model, images), *describe(summaries)
        far = (_distances(detector, measured) / limits).max(axis=1)
        rejected = (far > 1) | _faulty(summaries, detector)
        return far, {
            name: _share(rejected[np.array(types) == name]) for name in dict.fromkeys(types)
        }

    # Phantoms are not out of distribution for a model that was trained on them.
    examples = [
        (name, image)
        for name, image in ood_examples()
        if name != PHANTOM or not model.card.synthetic
    ]
    some = np.random.default_rng(0).permutation(test)[:_ALTERED]
    images = list(_read(data.dataset, [split.files[i] for i in some]))
    altered = [
        (name, np.ascontiguousarray(alter(image)))
        for name, alter in _ALTERATIONS.items()
        for image in images
    ]
    measured, summaries = measure(test)
    near = (_distances(detector, measured) / limits).max(axis=1)
    far, shares = evaluate(examples)
    groups = ranked_groups = split.bound_groups
    if groups is not None:
        groups = groups[test]
        # Each OOD image is a group of its own.
        ranked_groups = np.concatenate([groups, groups.max() + 1 + np.arange(len(far))])
    is_ood = np.repeat([False, True], [len(near), len(far)])
    content = to_bytes(detector)
    return content, DetectorMetrics(
        thresholds=dict(zip(SPACES, limits.tolist(), strict=True)),
        sha256=hashlib.sha256(content).hexdigest(),
        refused=_share((near > 1) | _faulty(summaries, detector), groups)[1],
        auroc=ranking_interval(is_ood, np.concatenate([near, far]), ranked_groups),
        foreign=shares,
        altered=evaluate(altered)[1],
    )


def _read(dataset: Dataset, names: Sequence[str]) -> Iterator[GrayImage]:
    with dataset.files() as files:
        for name in names:
            yield read_image(files.read(name), name)


def _faulty(summaries: Sequence[Summary], detector: OodDetector) -> npt.NDArray[np.bool_]:
    """Return (N,) whether each image has an obvious fault."""
    layouts, _ = describe(summaries)
    usual = detector.layout.centre
    faults = (obvious_faults(one, own, usual) for one, own in zip(summaries, layouts, strict=True))
    return np.array([bool(sentences) for sentences in faults])


def _distances(detector: OodDetector, measured: Measured) -> npt.NDArray[np.float64]:
    """Return (N, 3) distances; the largest float where there are no features."""
    spaces = (detector.features, detector.layout, detector.texture)
    found = np.stack(
        [distances(space, values) for space, values in zip(spaces, measured, strict=True)], axis=1
    )
    return np.where(np.isnan(found), np.finfo(np.float64).max, found)


def _features_of(model: Classifier, images: Sequence[GrayImage]) -> Scores:
    """Return the (N, D) features of images; NaN where a lung-only model finds no lungs."""
    blank = np.zeros((model.card.preprocessing.image_size,) * 2, dtype=np.uint8)
    inputs = []
    has_lungs = np.ones(len(images), dtype=bool)
    for i, image in enumerate(images):
        try:
            inputs.append(model.view(image).pixels)
        except ImageError:
            inputs.append(blank)
            has_lungs[i] = False
    features = model.features(np.stack(inputs), np.arange(len(inputs)))
    return np.where(has_lungs[:, None], features, np.nan)


def _share(
    hits: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64] | None = None
) -> tuple[int, Interval]:
    """Return the number of images, and the share of hits."""
    found = proportion_interval(hits, groups)
    if found is None:
        raise ConfigError("there are no images to evaluate the OOD detector on")
    return len(hits), found
