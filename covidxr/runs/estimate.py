"""Estimates of the time and disk space of a training run, from a few batches of the real loop."""

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
from covidxr.prediction.loading import segmenter_for
from covidxr.records import Recipe
from covidxr.runs.journal import RunConfig

_STEPS, _VALIDATED, _DECODED = 4, 64, 48
"""Training steps, validation images and decoded images that are timed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An upper bound on the cost of a run, which early stopping may reduce."""

    images: int
    """In the dataset, before exclusions."""
    epochs: int
    seconds_an_epoch: float
    decode_seconds: float
    """To prepare the images (decoding, lung masks) on first use; 0 if they are cached."""
    run_bytes: int
    """Two checkpoints, and a third while it is written."""
    cache_bytes: int
    """Prepared images; 0 if they are cached."""
    free_bytes: int
    """On the disk of the run."""
    cache_free_bytes: int
    """On the disk of the cache."""

    @property
    def seconds(self) -> float:
        """Total time."""
        return self.decode_seconds + self.epochs * self.seconds_an_epoch

    @property
    def fits(self) -> bool:
        """Whether there is enough disk space."""
        return self.run_bytes < self.free_bytes and self.cache_bytes < self.cache_free_bytes


@dataclass(frozen=True, slots=True)
class _Trial:
    """Seconds per image, and the size of a checkpoint."""

    train_seconds: float
    val_seconds: float
    checkpoint_bytes: int


def estimate(config: RunConfig, folder: Path) -> Estimate:
    """Estimate the cost of a run by training a few batches of random images.

    Args:
        config: Of the run.
        folder: Of the run.

    Raises:
        CovidxrError: For a configuration that the run would reject at once.
    """
    dataset, recipe, fractions = open_dataset(config.data), config.recipe, config.plan.fractions
    n = len(dataset.samples)
    n_train, n_val = int(n * fractions.train), n * fractions.val
    steps = n_train // recipe.batch_size
    if not steps:
        raise ConfigError(
            f"batch_size ({recipe.batch_size}) must be <= the number of training images ({n_train})"
        )
    trial = _train_briefly(recipe, len(dataset.class_names), min(steps, _STEPS))
    prepare_seconds, prepare_bytes = _preparation(dataset, recipe)
    return Estimate(
        images=n,
        epochs=recipe.epochs,
        seconds_an_epoch=steps * recipe.batch_size * trial.train_seconds
        + n_val * trial.val_seconds,
        decode_seconds=n * prepare_seconds,
        run_bytes=3 * trial.checkpoint_bytes,
        cache_bytes=n * prepare_bytes,
        free_bytes=_free_bytes(folder),
        cache_free_bytes=_free_bytes(cache_folder()),
    )


def _train_briefly(recipe: Recipe, n_classes: int, steps: int) -> _Trial:
    """Train some steps on random images."""
    from covidxr.models.training import TrainingData, fit

    batch, size = recipe.batch_size, recipe.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size), dtype=np.uint8)
    # One batch, repeated: the time of a step does not depend on the content.
    train_rows = np.arange(steps * batch) % batch
    data = TrainingData(
        pixels,
        np.arange(batch) % n_classes,
        train_rows,
        np.zeros(_VALIDATED, dtype=train_rows.dtype),
        tuple(str(k) for k in range(n_classes)),
    )
    events: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        fit(recipe.override(epochs=1, init="random"), data, checkpoint, events.append)
        checkpoint_bytes = checkpoint.stat().st_size
    epoch = next(event for event in events if event["event"] == "epoch")
    train_seconds = 1 / epoch["images_per_second"]
    val_seconds = max(0.0, epoch["seconds"] - len(train_rows) * train_seconds) / _VALIDATED
    return _Trial(train_seconds, val_seconds, checkpoint_bytes)


def _preparation(dataset: Dataset, recipe: Recipe) -> tuple[float, int]:
    """Return the seconds and bytes per image to fill the caches that a recipe needs."""
    segmenter = segmenter_for(recipe)
    sizes = (THUMBNAIL,) if segmenter else (THUMBNAIL, recipe.image_size)
    missing = [size for size in sizes if not cached_at(dataset, size).exists()]
    lungs = missing_caches(dataset, recipe.image_size, segmenter.sha256) if segmenter else ()
    seconds = _decode_seconds(dataset) * (len(missing) + len(lungs))
    size_bytes = sum(size**2 for size in missing)
    if segmenter and lungs:
        seconds += _lungs_seconds(segmenter)
        size_bytes += recipe.image_size**2 + MASK_SIZE**2 // 8
    return seconds, size_bytes


def _decode_seconds(dataset: Dataset) -> float:
    """Return the seconds to decode an image on all cores, from some on one core."""
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
    """Return the seconds to find the lungs of an image on all cores, from some on one core."""
    noise = np.random.default_rng(0).integers(
        0, 256, (_DECODED, MASK_SIZE, MASK_SIZE), dtype=np.uint8
    )
    # Libraries are loaded by the first.
    segmenter.mask(noise[0])
    started = time.monotonic()
    for image in noise:
        segmenter.mask(image)
    return (time.monotonic() - started) / len(noise) / (os.cpu_count() or 1)


def _free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
