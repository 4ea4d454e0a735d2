"""Similar cases: nearest training images in the feature space of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from covidxr.cards import ModelCard
from covidxr.config import cache_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL, near_duplicates
from covidxr.datasets.neighbors import Neighbors, index_points
from covidxr.datasets.pixels import Pixels, decode
from covidxr.datasets.splits import SplitData, split_as_trained
from covidxr.errors import DatasetError
from covidxr.images.radiograph import fit_to_square
from covidxr.images.reading import read_image
from covidxr.lungs.inputs import input_pixels
from covidxr.models.classifier import Classifier
from covidxr.records import GrayImage
from covidxr.storage import Arrays, cached_arrays

_VERSION = 1
"""Raise it when the network's input or the format of the cached features changes."""
_BATCH = 64
"""Images per acquisition of the model's lock, for which other users of the model wait."""

Half = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingFeatures:
    """The training images of a model in its feature space, with a search index."""

    data: SplitData
    """The dataset, split as for the training of the model."""
    rows: npt.NDArray[np.int64]
    """(M,) positions of the training images in the dataset's samples."""
    neighbors: Neighbors
    """Index of the (M, D) penultimate features, each of length 1."""
    usual: float
    """Median distance of two random training images."""
    thumbnails: Pixels


@dataclass(frozen=True, slots=True)
class SimilarCase:
    """A training image that is similar to another image in a model's feature space."""

    file: str
    class_name: str
    source: str | None
    distance: float
    """Euclidean distance of the unit-length penultimate features, in [0, 2]; 0 is identical."""
    near_duplicate: bool
    """Whether the two images are near-duplicates (`covidxr.datasets.duplicates`)."""


def features_file(card: ModelCard, dataset: Dataset) -> Path:
    """Return the cache file for the features of a model's training images."""
    key = f"{dataset.fingerprint}-{dataset.state}-features-{card.weights_sha256[:16]}-v{_VERSION}"
    return cache_folder() / f"{key}.npz"


def features_of(
    model: Classifier,
    dataset: Dataset,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingFeatures:
    """Return the penultimate features of a model's training images, from the cache if possible.

    Args:
        model: The classifier.
        dataset: Its own dataset.
        watch: Receives the completed and the total number of images while features are computed.
            What it raises stops the work.

    Raises:
        DatasetError: For a dataset that the model was not trained on.
    """
    card = model.card
    data = split_as_trained(dataset, card)
    rows = data.split.rows("train")
    files = [data.split.files[row] for row in rows]

    def make() -> Arrays:
        pixels = input_pixels(
            card.preprocessing, model.segmenter, data.dataset, skip_unreadable=True
        )
        return {
            "files": np.array(files),
            "points": _unit_features(model, pixels.array, pixels.rows(files), watch),
        }

    stored = cached_arrays(
        features_file(card, dataset),
        make,
        lambda a: a["files"].tolist() == files and a["points"].shape[:1] == (len(files),),
    )
    # numpy is far slower in half precision.
    points = stored["points"].astype(np.float32)
    pairs = np.random.default_rng(0).integers(0, len(points), (2, 1000))
    usual = float(np.median(np.linalg.norm(points[pairs[0]] - points[pairs[1]], axis=1)))
    thumbnails = decode(data.dataset, THUMBNAIL, skip_unreadable=True)
    return TrainingFeatures(data, rows, index_points(points), usual, thumbnails)


def similar_cases(
    model: Classifier, known: TrainingFeatures, image: GrayImage | str, n: int = 6
) -> tuple[SimilarCase, ...]:
    """Return the training images nearest to an image in the model's feature space, nearest first.

    Args:
        model: The classifier.
        known: Features of the same model (`features_of`).
        image: Gray values, (H, W) uint8, or a file of the dataset. For a file, images of the
            same patient and near-duplicates are excluded. For gray values the patient is unknown,
            and near-duplicates are marked (`SimilarCase.near_duplicate`).
        n: Number of images.

    Raises:
        ImageError: For a file that cannot be read.
        DatasetError: For a file that is not in the dataset, or missing.
    """
    dataset, split = known.data.dataset, known.data.split
    own: frozenset[int] = frozenset()
    if isinstance(image, str):
        if image not in split.files:
            raise DatasetError(f"{image} is not an image of {dataset.path}")
        group = split.groups[split.files.index(image)]
        own = frozenset(np.flatnonzero(split.groups[known.rows] == group).tolist())
        image = read_image(dataset.read(image), image)
    pixels = model.view(image).pixels[None]
    point = _unit_features(model, pixels, np.array([0]))[0].astype(np.float32)
    found = [
        (dataset.samples[known.rows[row]], distance)
        for row, distance in known.neighbors.nearest(point, n, own)
    ]
    small = known.thumbnails.array[known.thumbnails.rows([sample.file for sample, _ in found])]
    pairs = near_duplicates(np.concatenate([fit_to_square(image, THUMBNAIL)[None], small]))
    duplicates = {second - 1 for first, second in pairs.tolist() if first == 0}
    names = dataset.class_names
    return tuple(
        SimilarCase(sample.file, names[sample.label], sample.source, distance, i in duplicates)
        for i, (sample, distance) in enumerate(found)
    )


def _unit_features(
    model: Classifier,
    pixels: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Half:
    """Return (len(rows), D) penultimate features of pixels (N, S, S), each scaled to length 1."""
    parts = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        features = model.features(pixels, batch)
        lengths = np.linalg.norm(features, axis=1, keepdims=True).clip(min=1e-12)
        parts.append((features / lengths).astype(np.float16))
        watch(start + len(batch), len(rows))
    return np.concatenate(parts)
