"""Training of the lung segmenter on a dataset's masks, its evaluation and storage."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import covidxr
from covidxr.cards import CARD_SCHEMA_VERSION, SegmenterCard, SegmenterRecipe
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import SplitData, split_data
from covidxr.errors import DatasetError
from covidxr.images.reading import read_image
from covidxr.lungs.masks import read_mask, resize_mask
from covidxr.lungs.segmenter import LungSegmenter, build_segmenter, fit_segmenter
from covidxr.metrics.intervals import mean_interval
from covidxr.models import store
from covidxr.records import RESEARCH_ONLY, SPLITS, Interval, SplitPlan, display_name

_WORST = 10


def train_lungs(
    dataset: Dataset,
    recipe: SegmenterRecipe,
    plan: SplitPlan,
    root: Path,
    report: Callable[[dict[str, Any]], None] = lambda event: None,
) -> SegmenterCard:
    """Train the lung segmenter, evaluate it once on test at the masks' own size, and store it.

    Args:
        dataset: With lung masks.
        recipe: Settings of the training.
        plan: How to split the dataset.
        root: Folder of the stored models.
        report: Receives a dictionary after each epoch, as from `fit_segmenter`.

    Raises:
        DatasetError: When a split has no masks.
        ModelError: When there is a segmenter already.
    """
    store.new_model_folder(root, store.LUNGS)
    data = split_data(dataset, plan)
    dataset, split = data.dataset, data.split
    mask_of = {sample.file: sample.mask for sample in dataset.samples if sample.mask}
    rows = {
        name: [int(i) for i in split.rows(name) if split.files[i] in mask_of] for name in SPLITS
    }
    empty = [name for name, own in rows.items() if not own]
    if empty:
        raise DatasetError(
            f"{dataset.path} has no lung masks in the {empty[0]} split: expected one PNG per image "
            "in <Class>/masks/"
        )
    pixels = decode(dataset, recipe.image_size)

    def read(name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        files = [split.files[i] for i in rows[name]]
        with dataset.files() as opened:
            masks = [
                resize_mask(read_mask(opened.read(mask_of[file]), mask_of[file]), recipe.image_size)
                for file in files
            ]
        return pixels.array[pixels.rows(files)], np.stack(masks)

    weights, best_epoch, seconds = fit_segmenter(recipe, *read("train"), read("val"), report)
    weights = store.to_half(weights)
    counts = {
        name: {c: int((split.labels[own] == k).sum()) for k, c in enumerate(dataset.class_names)}
        for name, own in rows.items()
    }
    card = SegmenterCard(
        schema_version=CARD_SCHEMA_VERSION,
        task="lungs",
        model_id=store.LUNGS,
        architecture=store.LUNGS_ARCHITECTURE,
        recipe=recipe,
        split=plan,
        split_fingerprint=split.fingerprint,
        dataset_fingerprint=dataset.fingerprint,
        dataset_name="synthetic phantoms, not radiographs" if dataset.synthetic else dataset.name,
        synthetic=dataset.synthetic,
        mask_counts=counts,
        best_epoch=best_epoch,
        metrics={},
        worst=(),
        training_seconds=round(seconds, 1),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        covidxr_version=covidxr.__version__,
        torch_version=version("torch"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        intended_use=f"Finding the lungs in frontal chest radiographs of adults. {RESEARCH_ONLY}",
        limits=_limits(counts["test"]),
    )
    segmenter = LungSegmenter(card, store.fill_network(build_segmenter(), weights, card))
    table, metrics = _evaluate(segmenter, data, rows, mask_of)
    by_dice = sorted((row for row in table if row[1] == "test"), key=lambda row: row[2])
    worst = tuple((file, dice) for file, _, dice, _ in by_dice[:_WORST])
    return store.save_segmenter(root, replace(card, metrics=metrics, worst=worst), weights, table)


def _evaluate(
    segmenter: LungSegmenter, data: SplitData, rows: dict[str, list[int]], mask_of: dict[str, str]
) -> tuple[list[tuple[str, str, float, float]], dict[str, Interval]]:
    """Return (file, split, Dice, IoU) of each image of val and test, and the metrics on test."""
    split, table = data.split, []
    with data.dataset.files() as files:
        for name in ("val", "test"):
            for i in rows[name]:
                file = split.files[i]
                predicted = segmenter.mask(read_image(files.read(file), file))
                true = read_mask(files.read(mask_of[file]), mask_of[file])
                both, sizes = int((predicted & true).sum()), int(predicted.sum() + true.sum())
                table.append((file, name, 2 * both / max(sizes, 1), both / max(sizes - both, 1)))
    test = np.array(rows["test"])
    dice, iou = np.array([row[2:] for row in table[-len(test) :]]).T
    groups, labels = split.groups[test], split.labels[test]
    metrics = {"dice": mean_interval(dice, groups), "iou": mean_interval(iou, groups)}
    for k, class_name in enumerate(data.dataset.class_names):
        own = labels == k
        if own.any():
            metrics[f"dice {class_name}"] = mean_interval(dice[own], groups[own])
    return table, metrics


def _limits(test_counts: dict[str, int]) -> tuple[str, ...]:
    limits = [
        "It segments lung-like regions in any image, even a blank one: it does not detect whether "
        "the image shows a chest.",
        "Its reference masks are a network's output, not drawn by radiologists: dense "
        "consolidation is often excluded, here as well.",
    ]
    missing = [display_name(name) for name, n in test_counts.items() if not n]
    if missing:
        limits.append(
            f"There were no masks of {' and '.join(missing)}: it was not evaluated on such images."
        )
    return tuple(limits)
