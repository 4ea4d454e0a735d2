"""Similar cases: the training pictures that a model finds most like another picture."""

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
from covidxr.records import GreyImage
from covidxr.storage import Arrays, cached_arrays

_VERSION = 1
"""Raise it when a network is shown other pixels or its features are kept otherwise: older files are then worked out anew."""
_AT_ONCE = 64
"""Pictures for which the model's lock is held; others who use the model wait no longer than that."""

Half = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingFeatures:
    """A model's training pictures as points of its feature space, ready to be searched."""

    data: SplitData
    """The dataset, divided as the model's was."""
    rows: npt.NDArray[np.int64]
    """(M,) positions of the training pictures in the dataset's samples."""
    neighbors: Neighbors
    """(M, D) penultimate features, each of length 1."""
    usual: float
    """Median distance of two training pictures drawn at random."""
    thumbnails: Pixels


@dataclass(frozen=True, slots=True)
class SimilarCase:
    """One training picture that a model finds like another picture."""

    file: str
    class_name: str
    source: str | None
    distance: float
    """Euclidean distance of the two pictures' penultimate features, both of length 1: 0 is the same, 1.41 nothing in common."""
    twin: bool
    """Whether the two pictures are near-duplicates (`covidxr.datasets.duplicates`)."""


def features_at(card: ModelCard, dataset: Dataset) -> Path:
    """Return where the features of a model's training pictures lie, or will lie."""
    return (
        cache_folder()
        / f"{dataset.fingerprint}-{dataset.state}-features-{card.weights_sha256[:16]}-v{_VERSION}.npz"
    )


def features_of(
    model: Classifier,
    dataset: Dataset,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingFeatures:
    """Return the penultimate features of a model's training pictures, from the cache if it is whole and current, else anew.

    watch: told how many of how many pictures the network has seen, where it has to see them; what it raises ends it.
    Raises DatasetError when the dataset is not the one that the model was trained on.
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
            "points": _see(model, pixels.array, pixels.rows(files), watch),
        }

    stored = cached_arrays(
        features_at(card, dataset),
        make,
        lambda a: a["files"].tolist() == files and a["points"].shape[:1] == (len(files),),
    )
    points = stored["points"]
    wide = points.astype(np.float32)  # numpy multiplies half precision far slower
    pairs = np.random.default_rng(0).integers(0, len(wide), (2, 1000))
    usual = float(np.median(np.linalg.norm(wide[pairs[0]] - wide[pairs[1]], axis=1)))
    return TrainingFeatures(
        data, rows, index_points(wide), usual, decode(data.dataset, THUMBNAIL, skip_unreadable=True)
    )


def similar_cases(
    model: Classifier, known: TrainingFeatures, picture: GreyImage | str, n: int = 6
) -> tuple[SimilarCase, ...]:
    """Return the n training pictures nearest to a picture in the model's feature space, the nearest first.

    known: of the same model (`features_of`).  picture: grey values, (H, W), or a file of the dataset, whose own patient and
    near-duplicates are then left out. Of other pictures neither is known: near-duplicates are marked (`SimilarCase.twin`).
    Raises ImageError or DatasetError for a file that cannot be read.
    """
    dataset, split = known.data.dataset, known.data.split
    own: frozenset[int] = frozenset()
    if isinstance(picture, str):
        if picture not in split.files:
            raise DatasetError(f"{picture} is not among the pictures of {dataset.path}")
        group = split.groups[split.files.index(picture)]
        own = frozenset(np.flatnonzero(split.groups[known.rows] == group).tolist())
        picture = read_image(dataset.read(picture), picture)
    point = _see(model, model.view(picture).pixels[None], np.array([0]))[0].astype(np.float32)
    found = [
        (dataset.samples[known.rows[row]], distance)
        for row, distance in known.neighbors.nearest(point, n, own)
    ]
    small = known.thumbnails.array[known.thumbnails.rows([sample.file for sample, _ in found])]
    pairs = near_duplicates(np.concatenate([fit_to_square(picture, THUMBNAIL)[None], small]))
    twins = {second - 1 for first, second in pairs.tolist() if first == 0}
    return tuple(
        SimilarCase(
            sample.file, dataset.class_names[sample.label], sample.source, distance, i in twins
        )
        for i, (sample, distance) in enumerate(found)
    )


def _see(
    model: Classifier,
    pixels: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Half:
    """Return (len(rows), D) penultimate features of some of the pixels, (N, S, S), each of length 1."""
    parts = []
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        features = model.features(pixels, some)
        parts.append(
            (features / np.linalg.norm(features, axis=1, keepdims=True).clip(min=1e-12)).astype(
                np.float16
            )
        )
        watch(start + len(some), len(rows))
    return np.concatenate(parts)
