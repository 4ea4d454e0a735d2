"""Train, validation and test splits that keep patients and near-duplicates together."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset, Sample
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.pixels import decode
from covidxr.errors import DatasetError
from covidxr.records import SPLITS, Labels, SplitFractions, SplitPlan
from covidxr.storage import write_text

Groups = npt.NDArray[np.int64]
"""(N,) number of the group that each sample belongs to: one patient, or near-duplicates."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which split each sample of a dataset belongs to."""

    plan: SplitPlan
    files: tuple[str, ...]
    labels: Labels
    names: npt.NDArray[np.str_]
    """(N,) train, val or test."""
    groups: Groups

    @property
    def fingerprint(self) -> str:
        """Digest of which file is in which split; the same on every machine."""
        lines = sorted(f"{file}\t{name}" for file, name in zip(self.files, self.names, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    @property
    def bound_groups(self) -> Groups | None:
        """Groups that the protocol keeps together; None where samples count as independent."""
        return self.groups if self.plan.protocol == "grouped" else None

    def rows(self, name: str) -> npt.NDArray[np.int64]:
        """Return the positions of a split's samples."""
        return np.flatnonzero(self.names == name)

    def counts(self, class_names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return the number of samples by split, then by class."""
        tally = Counter(zip(self.names.tolist(), self.labels.tolist(), strict=True))
        return {
            split: {name: tally[split, i] for i, name in enumerate(class_names)} for split in SPLITS
        }


def group_samples(samples: Sequence[Sample], duplicates: npt.NDArray[np.int64]) -> Groups:
    """Group samples of one patient (within one source) and near-duplicates.

    Args:
        samples: N samples.
        duplicates: (P, 2) positions of near-duplicates.
    """
    first_of: dict[tuple[str | None, str], int] = {}
    pairs = [tuple(pair) for pair in duplicates.tolist()]
    for row, sample in enumerate(samples):
        if sample.patient_id:
            pairs.append((first_of.setdefault((sample.source, sample.patient_id), row), row))
    return components(np.array(pairs, dtype=np.int64).reshape(-1, 2), len(samples))


def components(pairs: npt.NDArray[np.int64], n: int) -> Groups:
    """Return (n,) the number of the connected component that each of n items belongs to.

    Args:
        pairs: (P, 2) items that belong together.
        n: Number of items.
    """
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def split_dataset(dataset: Dataset, plan: SplitPlan, groups: Groups) -> Split:
    """Split a dataset.

    Args:
        dataset: With N samples.
        plan: Protocol, seed and fractions.
        groups: (N,) kept together under the grouped protocol, only recorded under the others.

    Raises:
        DatasetError: When a split has no sample of some class, or the protocol is given and a
            sample has no split.
    """
    labels = np.array([s.label for s in dataset.samples], dtype=np.int64)
    if plan.protocol == "given":
        names = _given(dataset)
    else:
        units = groups if plan.protocol == "grouped" else np.arange(len(labels))
        names = _assign(labels, units, plan.fractions, plan.seed)
    split = Split(plan, tuple(s.file for s in dataset.samples), labels, names, groups)
    for name, counts in split.counts(dataset.class_names).items():
        empty = [class_name for class_name, n in counts.items() if n == 0]
        if empty:
            reason = "too few images (or too few groups) to split in three; add images"
            if plan.protocol == "given":
                reason = (
                    "the dataset's table assigns none; correct the table, or use the grouped "
                    "protocol"
                )
            raise DatasetError(f"the {name} split has no {', '.join(empty)}: {reason}")
    return split


def _given(dataset: Dataset) -> npt.NDArray[np.str_]:
    """Return the splits that the dataset's own table names."""
    wrong = [sample for sample in dataset.samples if sample.split not in SPLITS]
    if wrong:
        found = f"the split {wrong[0].split!r}" if wrong[0].split else "no split"
        raise DatasetError(
            f"{len(wrong):,} of {len(dataset.samples):,} images have no valid split, the first is "
            f"{wrong[0].file} with {found}: the given protocol needs one of {', '.join(SPLITS)} "
            "for each image; correct the table, or use the grouped protocol"
        )
    return np.array([sample.split for sample in dataset.samples], dtype="<U5")


def _assign(
    labels: Labels, units: Groups, fractions: SplitFractions, seed: int
) -> npt.NDArray[np.str_]:
    """Assign shuffled units, the largest first, to the split that lacks most of their classes."""
    shares = np.array([fractions.train, fractions.val, fractions.test])
    members: dict[int, list[int]] = defaultdict(list)
    for row, unit in enumerate(units.tolist()):
        members[unit].append(row)
    classes = int(labels.max()) + 1
    wanted = shares[:, None] * np.bincount(labels, minlength=classes)  # (3, C)
    missing = wanted.copy()
    order = list(members.values())
    np.random.default_rng(seed).shuffle(order)
    names = np.empty(len(labels), dtype="<U5")
    for rows in sorted(order, key=len, reverse=True):
        tally = np.bincount(labels[rows], minlength=classes)
        # Relative to the share, or the small splits would stay empty until the large one is full.
        lack = ((missing / wanted.clip(min=1e-9)) * tally).sum(axis=1)
        chosen = int(np.argmax(lack))
        missing[chosen] -= tally
        names[rows] = SPLITS[chosen]
    return names


def leaked_samples(split: Split) -> npt.NDArray[np.bool_]:
    """Return (N,) which samples outside train share a patient or a near-duplicate with train."""
    train = split.names == "train"
    return np.asarray(~train & np.isin(split.groups, split.groups[train]), dtype=bool)


def write_split(split: Split, class_names: Sequence[str], path: Path) -> None:
    """Write a split in the format of `split_csv`."""
    write_text(path, split_csv(split, class_names))


def split_csv(split: Split, class_names: Sequence[str]) -> str:
    """Return a split as CSV, `sample,label,group,split`, after a comment with its plan."""
    text = io.StringIO(newline="")
    plan = split.plan
    shares = f"{plan.fractions.train}/{plan.fractions.val}/{plan.fractions.test}"
    text.write(
        f"# protocol={plan.protocol} seed={plan.seed} fractions={shares} "
        f"fingerprint={split.fingerprint}\n"
    )
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", "label", "group", "split"])
    for file, label, group, name in zip(
        split.files, split.labels, split.groups, split.names, strict=True
    ):
        writer.writerow([file, class_names[label], group, name])
    return text.getvalue()


@dataclass(frozen=True, slots=True, eq=False)
class SplitData:
    """A dataset without unreadable and excluded images, and its split."""

    dataset: Dataset
    split: Split


def split_data(
    dataset: Dataset,
    plan: SplitPlan,
    skip_unreadable: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
    excluded: Sequence[tuple[str, str]] = (),
) -> SplitData:
    """Exclude images, group patients and near-duplicates, and split.

    Args:
        dataset: As opened.
        plan: Protocol, seed and fractions.
        skip_unreadable: Whether to skip images that cannot be read.
        watch: Receives the number of decoded images and the total, while decoding.
        excluded: (file, reason) of images to exclude.

    Raises:
        DatasetError: For an excluded file that does not exist, a split without a class or, unless
            `skip_unreadable`, an image that cannot be read.
    """
    thumbnails = decode(dataset, THUMBNAIL, skip_unreadable, watch)
    dataset = dataset.without(thumbnails.skipped)
    unknown = {file for file, _ in excluded} - {sample.file for sample in dataset.samples}
    if unknown:
        raise DatasetError(
            f"{len(unknown)} files of the exclusion list are not in {dataset.path}, the first is "
            f"{min(unknown)}; remove them from the list"
        )
    dataset = dataset.without(excluded)
    groups = group_samples(dataset.samples, find_near_duplicates(dataset, thumbnails))
    return SplitData(dataset, split_dataset(dataset, plan, groups))


def split_as_trained(dataset: Dataset, card: ModelCard) -> SplitData:
    """Split a dataset as it was split for a model.

    Raises:
        DatasetError: Unless it is the dataset that the model was trained on.
    """
    check_dataset(dataset, card)
    data = split_data(dataset, card.split, skip_unreadable=True, excluded=card.excluded)
    if data.split.fingerprint != card.split_fingerprint:
        raise DatasetError(
            f"{dataset.path} is not split as when {card.model_id} was trained on it (split "
            f"{data.split.fingerprint}, expected {card.split_fingerprint}): some of its test images"
            " may have been training images"
        )
    return data


def check_dataset(dataset: Dataset, card: ModelCard) -> None:
    """Raise DatasetError unless a dataset is the one that a model was trained and tested on."""
    if dataset.fingerprint != card.dataset_fingerprint:
        raise DatasetError(
            f"{dataset.path} is not the dataset that {card.model_id} was trained on "
            f"({card.dataset_name}): its files differ"
        )
