"""Which of a dataset's pictures the grid shows: the reader's filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from covidxr.app import numbers
from covidxr.app.dataset.datasets import SPLIT_TITLES
from covidxr.app.widgets import stored_models
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import SplitData
from covidxr.records import SPLITS, display_name

_ANY = "Any"
_TWINS = "Near-duplicates"
"""As the audit calls them; they are known before it."""

Mask = npt.NDArray[np.bool_]


def _identity(dataset: Dataset) -> tuple[str, str, int]:
    return str(dataset.path), dataset.state, len(dataset.samples)


HASHED: dict[str | type[Any], Callable[[Any], Any]] = {
    Dataset: _identity,
    SplitData: lambda data: (_identity(data.dataset), data.split.plan),
}
"""What stands for a dataset, and for its division, as the key of what is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """What the filters ask of each sample, worked out once: (N,) values, and the choices that there are."""

    positions: dict[str, int]
    sources: npt.NDArray[np.str_]
    words: tuple[str, ...]
    patients: dict[str, list[int]]
    """Patients of several pictures, by what to call them."""
    groups: dict[str, list[int]]
    """Groups of several pictures, by what to call them."""
    group_of: dict[int, str]
    """What the group of a sample is called, where it is one of several pictures."""


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=HASHED)
def table(data: SplitData) -> _Table:
    """Return what the filters ask of each sample of a division."""
    samples = data.dataset.samples
    patients: dict[str, list[int]] = {}
    groups: dict[int, list[int]] = {}
    for i, (sample, group) in enumerate(zip(samples, data.split.groups.tolist(), strict=True)):
        groups.setdefault(group, []).append(i)
        if sample.patient_id:
            patients.setdefault(
                f"{sample.patient_id} ({sample.source or 'source not known'})", []
            ).append(i)
    named: dict[str, list[int]] = {}
    for rows in sorted((rows for rows in groups.values() if len(rows) > 1), key=len, reverse=True):
        file = samples[rows[0]].file
        stem = file.rpartition("/")[2].rpartition(".")[0]
        title = f"{stem} and {len(rows) - 1} more"
        named[f"{file} and {len(rows) - 1} more" if title in named else title] = rows
    return _Table(
        {sample.file: i for i, sample in enumerate(samples)},
        np.array([sample.source or "unknown" for sample in samples]),
        tuple(f"{sample.file} {sample.patient_id or ''}".casefold() for sample in samples),
        {
            f"{title}: {len(rows)} pictures": rows
            for title, rows in sorted(patients.items())
            if len(rows) > 1
        },
        named,
        {i: title for title, rows in named.items() for i in rows},
    )


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=HASHED)
def twins_of(dataset: Dataset) -> dict[int, list[int]]:
    """Return the near-duplicates of each sample that has some, by position."""
    twins: dict[int, list[int]] = {}
    for a, b in find_near_duplicates(
        dataset, decode(dataset, THUMBNAIL, skip_unreadable=True)
    ).tolist():
        twins.setdefault(a, []).append(b)
        twins.setdefault(b, []).append(a)
    return twins


def filtered(data: SplitData, findings: Mapping[str, Sequence[str]]) -> Mask:
    """Let the reader choose which pictures are shown; return (N,) which they are."""
    dataset, split, known = data.dataset, data.split, table(data)
    keep = np.ones(len(dataset.samples), dtype=bool)
    one, two, three, four = st.columns(4)
    names = one.multiselect(
        "Class",
        list(dataset.class_names),
        format_func=display_name,
        placeholder=_ANY,
        key="browse class",
    )
    if names:
        keep &= np.isin(split.labels, [dataset.class_names.index(name) for name in names])
    parts = two.multiselect(
        "Split",
        list(SPLITS),
        format_func=SPLIT_TITLES.__getitem__,
        placeholder=_ANY,
        key="browse split",
    )
    if parts:
        keep &= np.isin(split.names, parts)
    wanted = three.multiselect(
        "Source", np.unique(known.sources).tolist(), placeholder=_ANY, key="browse source"
    )
    if wanted:
        keep &= np.isin(known.sources, wanted)
    text = (
        four.text_input("File or patient", placeholder="Part of a name", key="browse text")
        .strip()
        .casefold()
    )
    if text:
        keep &= np.fromiter((text in words for words in known.words), dtype=bool, count=len(keep))
    one, two, three, four = st.columns(4)
    keep &= _chosen(
        one,
        "Patient",
        known.patients,
        len(keep),
        "Those of several pictures; the field above finds all.",
    )
    tied = "Pictures tied by a patient or by being near-duplicates; no division that is grouped parts them."
    keep &= _chosen(two, "Group", known.groups, len(keep), tied)
    rows = {
        title: [known.positions[file] for file in files if file in known.positions]
        for title, files in findings.items()
    }
    why = None if findings else "The audit, in the next part of this page, adds its own."
    keep &= _chosen(three, "Finding", {_TWINS: list(twins_of(dataset))} | rows, len(keep), why)
    cards = judges(dataset)
    judge = four.selectbox(
        "Judged by",
        [_ANY, *cards],
        key="browse model",
        help="A model's verdict on its own test pictures.",
    )
    if judge != _ANY:
        keep &= _by_verdict(cards[judge], known.positions, len(keep))
    return keep


def _chosen(
    place: st.delta_generator.DeltaGenerator,
    label: str,
    choices: Mapping[str, Sequence[int]],
    n: int,
    help: str | None,
) -> Mask:
    """Let the reader choose one of some sets of pictures, or none; return (n,) which are in it."""
    key = f"browse {label.lower()}"
    if st.session_state.get(key) not in (None, *choices):
        st.session_state[key] = None
    title = place.selectbox(
        label, list(choices), None, placeholder=_ANY, key=key, help=help, disabled=not choices
    )
    mask = np.full(n, title is None)
    if title is not None:
        mask[list(choices[title])] = True
    return mask


def _by_verdict(card: ModelCard, positions: Mapping[str, int], n: int) -> Mask:
    part = numbers.test_predictions(card)
    left, right = st.columns([1, 3])
    verdict = left.segmented_control("Verdict", ["Right", "Wrong"], key="browse verdict")
    low, high = right.slider(
        "Confidence (%)", 0, 100, (0, 100), key="browse confidence", help="Of the class it called."
    )
    sure = 100 * part.y_score.max(axis=1)
    kept = (sure >= low) & (sure <= high)
    if verdict:
        kept &= (part.y_pred == part.y_true) == (verdict == "Right")
    mask = np.zeros(n, dtype=bool)
    mask[
        [positions[part.samples[i]] for i in np.flatnonzero(kept) if part.samples[i] in positions]
    ] = True
    return mask


def judges(dataset: Dataset) -> dict[str, ModelCard]:
    """Return the models that were judged on a dataset, the most accurate first."""
    cards = (entry.card for entry in stored_models())
    return {
        card.model_id: card
        for card in cards
        if card and card.dataset_fingerprint == dataset.fingerprint
    }
