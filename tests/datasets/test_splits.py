from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covidxr.datasets.dataset import Dataset, Sample
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import (
    Split,
    check_dataset,
    group_samples,
    leaked_samples,
    split_dataset,
    write_split,
)
from covidxr.errors import DatasetError
from covidxr.evaluation.stored import stored_predictions
from covidxr.records import CLASS_NAMES, SPLITS, SplitFractions, SplitPlan


def dataset_of(counts: tuple[int, ...]) -> Dataset:
    samples = tuple(
        Sample(f"{CLASS_NAMES[c]}/images/{i}.png", c)
        for c, n in enumerate(counts)
        for i in range(n)
    )
    return Dataset(Path("x"), "", samples, "f", "s", synthetic=False)


def test_the_baseline_study_s_counts_on_the_original_database() -> None:
    dataset = dataset_of((10_192, 3_616, 1_345, 6_012))
    split = split_dataset(dataset, SplitPlan("stratified"), np.arange(21_165))
    train = split.counts(CLASS_NAMES)["train"]
    published = {"Normal": 7_134, "COVID": 2_532, "Viral Pneumonia": 941, "Lung_Opacity": 4_210}
    assert all(abs(train[name] - n) <= 2 for name, n in published.items()), train
    # The baseline study has 3,175 test images.
    assert abs(sum(split.counts(CLASS_NAMES)["test"].values()) - 3_175) <= 4


@settings(max_examples=60, deadline=None)
@given(
    counts=st.tuples(*[st.integers(20, 150)] * 4),
    train=st.floats(0.5, 0.8),
    seed=st.integers(0, 1000),
    group_size=st.integers(1, 6),
)
def test_grouped_splits_are_whole_disjoint_and_stratified(
    counts: tuple[int, ...], train: float, seed: int, group_size: int
) -> None:
    dataset = dataset_of(counts)
    n = sum(counts)
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, max(2, n // group_size), n)
    rest = (1 - train) / 2
    split = split_dataset(
        dataset, SplitPlan("grouped", seed, SplitFractions(train, rest, 1 - train - rest)), groups
    )
    assert set(split.names) == set(SPLITS)
    for group in np.unique(groups):
        assert len(set(split.names[groups == group])) == 1
    largest = np.bincount(groups).max()
    for c, total in enumerate(counts):
        share = (split.names[split.labels == c] == "train").sum()
        assert abs(share - train * total) <= 2 * largest + 2


@settings(max_examples=40, deadline=None)
@given(counts=st.tuples(*[st.integers(10, 200)] * 4), seed=st.integers(0, 1000))
def test_stratified_counts_are_the_shares_within_two(counts: tuple[int, ...], seed: int) -> None:
    split = split_dataset(
        dataset_of(counts), SplitPlan("stratified", seed), np.zeros(sum(counts), dtype=np.int64)
    )
    for name, share in zip(SPLITS, (0.70, 0.15, 0.15), strict=True):
        for class_name, total in zip(CLASS_NAMES, counts, strict=True):
            assert abs(split.counts(CLASS_NAMES)[name][class_name] - share * total) <= 2


def test_the_seed_determines_the_split() -> None:
    dataset, groups = dataset_of((50, 50, 50, 50)), np.arange(200)
    one, again, other = (
        split_dataset(dataset, SplitPlan("grouped", seed), groups) for seed in (0, 0, 1)
    )
    assert one.fingerprint == again.fingerprint
    assert one.fingerprint != other.fingerprint
    assert (one.names != other.names).mean() > 0.2


def test_patients_and_near_duplicates_are_grouped() -> None:
    samples = [
        Sample("a", 0, "kermany", "p1"),
        Sample("b", 2, "kermany", "p1"),
        Sample("c", 0, "rsna", "p1"),  # the same id in another collection is another patient
        Sample("d", 1),
        Sample("e", 1),
        Sample("f", 1),
    ]
    groups = group_samples(samples, np.array([[1, 3], [3, 4]]))
    assert groups[0] == groups[1] == groups[3] == groups[4]
    assert len({groups[0], groups[2], groups[5]}) == 3


def test_a_class_too_small_to_split_is_named() -> None:
    with pytest.raises(DatasetError, match="has no Viral Pneumonia"):
        split_dataset(dataset_of((50, 50, 2, 50)), SplitPlan(), np.arange(152))


def test_the_csv_contains_plan_fingerprint_and_every_sample(tmp_path: Path) -> None:
    dataset = dataset_of((20, 20, 20, 20))
    split = split_dataset(dataset, SplitPlan("grouped", 3), np.arange(80))
    write_split(split, CLASS_NAMES, tmp_path / "split.csv")
    first, *lines = (tmp_path / "split.csv").read_text().splitlines()
    assert (
        first
        == f"# protocol=grouped seed=3 fractions=0.7/0.15/0.15 fingerprint={split.fingerprint}"
    )
    rows = list(csv.DictReader(lines))
    assert [r["sample"] for r in rows] == [s.file for s in dataset.samples]
    assert [r["split"] for r in rows] == split.names.tolist()
    assert rows[0] == {
        "sample": "Normal/images/0.png",
        "label": "Normal",
        "group": "0",
        "split": split.names[0],
    }


def test_leaked_samples_are_found() -> None:
    groups = np.array([0, 0, 1, 1, 2, 3, 3])
    names = np.array(["train", "test", "train", "val", "test", "val", "test"])
    split = Split(
        SplitPlan("stratified"), tuple("abcdefg"), np.zeros(7, dtype=np.int64), names, groups
    )
    assert leaked_samples(split).tolist() == [False, True, False, True, False, False, False]


@pytest.mark.usefixtures("phantom_models")
def test_only_the_dataset_of_the_model_is_accepted(phantoms: Path, tmp_path: Path) -> None:
    from covidxr.datasets.phantoms import write_phantoms

    card, _ = stored_predictions("phantom-cnn")
    check_dataset(open_dataset(phantoms), card)
    other = open_dataset(write_phantoms(tmp_path / "other", per_class=4, size=64))
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        check_dataset(other, card)
