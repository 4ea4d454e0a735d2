"""The use cases: the only place where the rooms meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covidxr.data.dataset import Dataset, open_dataset
from covidxr.data.duplicates import THUMBNAIL, near_duplicates
from covidxr.data.pixels import decode
from covidxr.data.splits import Split, group_samples, split_dataset, write_split
from covidxr.errors import CovidxrError
from covidxr.records import SplitPlan
from covidxr.runs.journal import RunConfig, RunFolder


@dataclass(frozen=True, slots=True, eq=False)
class SplitData:
    """A dataset whose unreadable images are out, and its split."""

    dataset: Dataset
    split: Split


def split_data(path: Path | str, plan: SplitPlan, skip_unreadable: bool = False) -> SplitData:
    """Open a dataset, find its patients and twins, and divide it.

    Raises DatasetError for a wrong folder, a missing class or, unless `skip_unreadable`, an image that cannot be read.
    """
    dataset = open_dataset(path)
    thumbnails = decode(dataset, THUMBNAIL, skip_unreadable)
    dataset = dataset.without(thumbnails.skipped)
    twins = near_duplicates(thumbnails.array[thumbnails.rows([s.file for s in dataset.samples])])
    return SplitData(dataset, split_dataset(dataset, plan, group_samples(dataset.samples, twins)))


def train(config: RunConfig, folder: Path) -> RunFolder:
    """Start a run in a folder and train until it is finished, cancelled or failed."""
    run = RunFolder(folder)
    with run.hold():
        run.create(config)
    return resume(folder)


def resume(folder: Path) -> RunFolder:
    """Go on with a run after its last finished epoch. Raises RunError when it is going on already, or is no run."""
    from covidxr.models.training import Cancelled, TrainingData, fit

    run = RunFolder(folder)
    config = run.config()
    with run.hold():
        (folder / "cancel").unlink(missing_ok=True)
        run.report({"event": "started"})
        try:
            data = split_data(config.data, config.plan, config.skip_unreadable)
            dataset, split = data.dataset, data.split
            write_split(split, dataset.class_names, run.split)
            pixels = decode(dataset, config.recipe.image_size, config.skip_unreadable)
            rows = pixels.rows(split.files)
            labels = np.zeros(len(pixels.files), dtype=np.int64)
            labels[rows] = split.labels
            fitted = fit(
                config.recipe,
                TrainingData(pixels.array, labels, rows[split.rows("train")], rows[split.rows("val")], dataset.class_names),
                run.checkpoint,
                run.report,
                (folder / "cancel").exists,
                Path(config.init_file) if config.init_file else None,
            )
        except (Cancelled, KeyboardInterrupt):
            run.report({"event": "cancelled"})
            return run
        except CovidxrError as error:
            run.report({"event": "failed", "reason": str(error)})
            raise
        run.report({"event": "finished", "best_epoch": fitted.best_epoch, "best_macro_f1": fitted.best_macro_f1})
    return run
