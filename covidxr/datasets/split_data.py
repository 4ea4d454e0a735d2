"""Datasets: opened, made, divided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import covidxr
from covidxr.config import cache_folder
from covidxr.datasets.dataset import Dataset, open_dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_twins
from covidxr.datasets.phantoms import write_phantoms
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import Split, group_samples, split_dataset
from covidxr.errors import DatasetError
from covidxr.records import SplitPlan


@dataclass(frozen=True, slots=True, eq=False)
class SplitData:
    """A dataset whose unreadable images are out, and its split."""

    dataset: Dataset
    split: Split


def default_dataset() -> Path:
    """Return the phantoms that stand in where no dataset is named; they are made on first use."""
    folder = cache_folder() / f"phantoms-{covidxr.__version__}"
    return folder if folder.exists() else write_phantoms(folder)


def split_data(
    path: Path | str,
    plan: SplitPlan,
    skip_unreadable: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
    excluded: Sequence[tuple[str, str]] = (),
) -> SplitData:
    """Open a dataset, leave out what is excluded, find its patients and twins, and divide it.

    watch: told how many images of how many are decoded, where they have to be.  excluded: (file, reason) of images to leave out.
    Raises DatasetError for a wrong folder, a missing class or, unless `skip_unreadable`, an image that cannot be read.
    """
    dataset = open_dataset(path)
    thumbnails = decode(dataset, THUMBNAIL, skip_unreadable, watch)
    dataset = dataset.without(thumbnails.skipped)
    unknown = {file for file, _ in excluded} - {sample.file for sample in dataset.samples}
    if unknown:
        raise DatasetError(
            f"{len(unknown)} files to be left out are not in {dataset.path}, the first is {min(unknown)}"
        )
    dataset = dataset.without(excluded)
    groups = group_samples(dataset.samples, find_twins(dataset, thumbnails))
    return SplitData(dataset, split_dataset(dataset, plan, groups))
