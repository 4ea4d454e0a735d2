"""What a training would cost: time and disk, measured on a few batches of the real loop."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from covidxr.config import cache_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.pixels import cached_at
from covidxr.errors import ConfigError, CovidxrError
from covidxr.images.radiograph import fit_to_square
from covidxr.images.reading import read_image
from covidxr.lungs.inputs import missing_caches
from covidxr.lungs.masks import MASK_SIZE
from covidxr.models.classifier import Segmenter
from covidxr.models.training import TrainingData, fit
from covidxr.prediction.loading import segmenter_for
from covidxr.runs.journal import RunConfig

_STEPS, _VALIDATED, _DECODED = 4, 64, 48


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training would cost at most; patience may end it sooner."""

    images: int
    """Of the dataset, before any is left out."""
    epochs: int
    seconds_an_epoch: float
    decode_seconds: float
    """To decode the pictures, and to find their lungs where nothing else is seen, once; 0 where that is done already."""
    run_bytes: int
    """The run's two checkpoints, and the third while it is written."""
    cache_bytes: int
    """The decoded pictures; 0 where they are there already."""
    free_bytes: int
    """Free where the run would lie."""
    cache_free_bytes: int
    """Free where the decoded pictures would lie."""

    @property
    def seconds(self) -> float:
        """From the start to the last epoch."""
        return self.decode_seconds + self.epochs * self.seconds_an_epoch

    @property
    def fits(self) -> bool:
        """Whether there is room on disk."""
        return self.run_bytes < self.free_bytes and self.cache_bytes < self.cache_free_bytes


def estimate(config: RunConfig, folder: Path) -> Estimate:
    """Train a few batches of random pictures by a run's recipe, and work out time and disk for its dataset.

    folder: where the run would lie. Raises CovidxrError for what would end the run at once too.
    """
    dataset, recipe = open_dataset(config.data), config.recipe
    n, fractions = len(dataset.samples), config.plan.fractions
    steps = int(n * fractions.train) // recipe.batch_size
    if not steps:
        raise ConfigError(
            f"batch_size ({recipe.batch_size}) must be <= the number of training images ({int(n * fractions.train)})"
        )
    event, checkpoint_bytes = _train_a_little(config, len(dataset.class_names), min(steps, _STEPS))
    trained = min(steps, _STEPS) * recipe.batch_size
    training = trained / event["images_per_second"]
    validating = max(0.0, event["seconds"] - training) / _VALIDATED
    sizes = (THUMBNAIL,) if recipe.region == "lungs" else (THUMBNAIL, recipe.image_size)
    missing = [size for size in sizes if not cached_at(dataset, size).exists()]
    segmenter = segmenter_for(recipe)
    lungs = missing_caches(dataset, recipe.image_size, segmenter.sha256) if segmenter else ()
    return Estimate(
        images=n,
        epochs=recipe.epochs,
        seconds_an_epoch=steps * recipe.batch_size / event["images_per_second"]
        + n * fractions.val * validating,
        decode_seconds=n
        * (
            _decode_seconds(dataset) * (len(missing) + len(lungs))
            + (_lungs_seconds(segmenter) if segmenter and lungs else 0.0)
        ),
        run_bytes=3 * checkpoint_bytes,
        cache_bytes=n
        * (
            sum(size**2 for size in missing)
            + (recipe.image_size**2 + MASK_SIZE**2 // 8 if lungs else 0)
        ),
        free_bytes=_free_bytes(folder),
        cache_free_bytes=_free_bytes(cache_folder()),
    )


def _train_a_little(config: RunConfig, classes: int, steps: int) -> tuple[dict[str, Any], int]:
    """Return the epoch event of `steps` steps on random pictures, and the size of a checkpoint."""
    recipe = config.recipe.override(epochs=1, init="random")
    rows = steps * recipe.batch_size
    rng = np.random.default_rng(0)
    pixels = rng.integers(
        0, 256, (recipe.batch_size, recipe.image_size, recipe.image_size), dtype=np.uint8
    )
    labels = np.arange(recipe.batch_size) % classes
    # Few pictures, drawn again and again: what a step costs does not depend on what they show.
    again = np.arange(rows) % recipe.batch_size
    names = tuple(str(i) for i in range(classes))
    events: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        fit(
            recipe,
            TrainingData(pixels, labels, again, again[:1].repeat(_VALIDATED), names),
            checkpoint,
            events.append,
        )
        return next(
            event for event in events if event["event"] == "epoch"
        ), checkpoint.stat().st_size


def _decode_seconds(dataset: Dataset) -> float:
    """Seconds to decode a picture on all cores, from a few on one."""
    chosen = np.random.default_rng(0).choice(
        len(dataset.samples), min(_DECODED, len(dataset.samples)), replace=False
    )
    started = time.monotonic()
    with dataset.files() as files:
        for i in chosen:
            file = dataset.samples[i].file
            try:
                fit_to_square(read_image(files.read(file), file), THUMBNAIL)
            except CovidxrError:
                continue
    return (time.monotonic() - started) / len(chosen) / (os.cpu_count() or 1)


def _lungs_seconds(segmenter: Segmenter) -> float:
    """Seconds to find the lungs of a picture on all cores, from a few on one, the libraries loaded."""
    noise = np.random.default_rng(0).integers(
        0, 256, (_DECODED, MASK_SIZE, MASK_SIZE), dtype=np.uint8
    )
    segmenter.mask(noise[0])
    started = time.monotonic()
    for image in noise:
        segmenter.mask(image)
    return (time.monotonic() - started) / len(noise) / (os.cpu_count() or 1)


def _free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
