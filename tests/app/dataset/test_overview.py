"""The overview of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covidxr.app.dataset.overview import _source_sentence
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data
from covidxr.records import CLASS_NAMES, SPLITS, SplitPlan


@pytest.mark.slow
def test_the_overview_counts_the_images(
    open_section: Callable[..., AppTest], phantoms: Path
) -> None:
    app = open_section("Overview")
    assert not app.exception
    assert {metric.label: metric.value for metric in app.metric}["Images"] == "160"
    counts = split_data(open_dataset(phantoms), SplitPlan()).split.counts(CLASS_NAMES)
    splits, formats = (table.value for table in app.dataframe)
    assert list(formats["Images"]) == [160]
    assert list(splits["Total"]) == [sum(counts[split].values()) for split in SPLITS]
    assert list(splits["Lung opacity"]) == [counts[split]["Lung_Opacity"] for split in SPLITS]


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ((None, None, None, None), "No source information."),
        (("a", "a", "b", "b"), "Every class has a source in common with another class."),
        (
            ("a", "b", "a", "a"),
            "COVID-19 shares no source with any other class: class and source are confounded.",
        ),
        (
            ("a", "b", "c", "c"),
            "Normal and COVID-19 share no source with any other class: class and source are "
            "confounded.",
        ),
    ],
)
def test_classes_confounded_with_their_source_are_named(
    phantoms: Path, sources: tuple[str | None, ...], sentence: str
) -> None:
    dataset = open_dataset(phantoms)
    samples = tuple(replace(s, source=sources[s.label]) for s in dataset.samples)
    assert _source_sentence(replace(dataset, samples=samples)) == sentence
