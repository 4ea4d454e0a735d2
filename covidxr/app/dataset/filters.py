"""Filters of the gallery on the Dataset page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from covidxr.app import numbers
from covidxr.app.cache import HASH_FUNCS
from covidxr.app.splits import SPLIT_TITLES
from covidxr.app.widgets import stored_models
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import SplitData
from covidxr.formatting import count
from covidxr.records import SPLITS, display_name

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_ANY = "Any"
_NEAR_DUPLICATES = "Near-duplicates"
"""The audit's own title of this issue, which is known before the audit."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """What the filters look up: values of each sample, (N,), and positions of samples by title."""

    positions: dict[str, int]
    """By file."""
    sources: npt.NDArray[np.str_]
    searched: tuple[str, ...]
    """File name and patient ID, in lower case."""
    patients: dict[str, list[int]]
    """Of patients with several images."""
    groups: dict[str, list[int]]
    """Of groups of several images."""
    group_of: dict[int, str]
    """Title of a sample's group, where it holds several images."""


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=HASH_FUNCS)
def index(data: SplitData) -> _Index:
    """Return what the filters look up in a split dataset."""
    samples = data.dataset.samples
    groups: dict[str, list[int]] = {}
    for rows in _several(data.split.groups.tolist()).values():
        file = samples[rows[0]].file
        title = f"{_stem(file)} and {len(rows) - 1} more"
        groups[f"{file} and {len(rows) - 1} more" if title in groups else title] = rows
    patients = _several(
        [s.patient_id and f"{s.patient_id} ({s.source or 'unknown source'})" for s in samples]
    )
    return _Index(
        {sample.file: i for i, sample in enumerate(samples)},
        np.array([sample.source or "unknown" for sample in samples]),
        tuple(f"{sample.file} {sample.patient_id or ''}".casefold() for sample in samples),
        {f"{name}: {count(len(patients[name]))}": patients[name] for name in sorted(patients)},
        groups,
        {i: title for title, rows in groups.items() for i in rows},
    )


def _several(keys: Sequence[Any]) -> dict[Any, list[int]]:
    """Return the positions of each key that occurs more than once, the most frequent first."""
    positions: dict[Any, list[int]] = {}
    for i, key in enumerate(keys):
        if key is not None and key != "":
            positions.setdefault(key, []).append(i)
    ordered = sorted(positions.items(), key=lambda item: -len(item[1]))
    return {key: rows for key, rows in ordered if len(rows) > 1}


def _stem(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[0]


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=HASH_FUNCS)
def near_duplicates(dataset: Dataset) -> dict[int, list[int]]:
    """Return the near-duplicates of each sample that has some, by position."""
    found: dict[int, list[int]] = {}
    thumbnails = decode(dataset, THUMBNAIL, skip_unreadable=True)
    for a, b in find_near_duplicates(dataset, thumbnails).tolist():
        found.setdefault(a, []).append(b)
        found.setdefault(b, []).append(a)
    return found


def evaluated_models(dataset: Dataset) -> dict[str, ModelCard]:
    """Return the models that were evaluated on a dataset, sorted by test accuracy."""
    cards = (entry.card for entry in stored_models())
    return {
        card.model_id: card
        for card in cards
        if card and card.dataset_fingerprint == dataset.fingerprint
    }


def filtered(data: SplitData, issues: Mapping[str, Sequence[str]]) -> Mask:
    """Let the user filter the images.

    Args:
        data: The split dataset, of N samples.
        issues: Files of each quality issue that an audit found, by its title.

    Returns:
        (N,) whether each image is shown.
    """
    dataset, split, known = data.dataset, data.split, index(data)
    keep = np.ones(len(dataset.samples), dtype=bool)
    one, two, three, four = st.columns(4)
    classes = _several_of(one, "Class", dataset.class_names, display_name)
    if classes:
        keep &= np.isin(split.labels, [dataset.class_names.index(name) for name in classes])
    splits = _several_of(two, "Split", SPLITS, SPLIT_TITLES.__getitem__)
    if splits:
        keep &= np.isin(split.names, splits)
    sources = _several_of(three, "Source", np.unique(known.sources).tolist())
    if sources:
        keep &= np.isin(known.sources, sources)
    text = four.text_input("Search", placeholder="File name or patient ID", key="browse text")
    if text := text.strip().casefold():
        keep &= np.array([text in searched for searched in known.searched])
    one, two, three, four = st.columns(4)
    keep &= _one_of(one, "Patient", known.patients, len(keep), "Patients with several images.")
    grouped = "Images of one patient and near-duplicates, never separated by a grouped split."
    keep &= _one_of(two, "Group", known.groups, len(keep), grouped)
    rows = {
        title: [known.positions[file] for file in files if file in known.positions]
        for title, files in issues.items()
    }
    audited = None if issues else "Run the audit to filter by all of its quality issues."
    rows = {_NEAR_DUPLICATES: list(near_duplicates(dataset))} | rows
    keep &= _one_of(three, "Quality issue", rows, len(keep), audited)
    cards = evaluated_models(dataset)
    model_id = four.selectbox(
        "Model prediction",
        [_ANY, *cards],
        key="browse model",
        help="Predictions of a model on its test set.",
    )
    if model_id != _ANY:
        keep &= _by_prediction(cards[model_id], known.positions, len(keep))
    return keep


def _several_of(
    place: DeltaGenerator,
    label: str,
    choices: Sequence[str],
    title: Callable[[str], str] = str,
) -> list[str]:
    """Let the user choose any number of values."""
    key = f"browse {label.lower()}"
    return place.multiselect(label, choices, format_func=title, placeholder=_ANY, key=key)


def _one_of(
    place: DeltaGenerator,
    label: str,
    choices: Mapping[str, Sequence[int]],
    n: int,
    explanation: str | None,
) -> Mask:
    """Let the user choose one set of images, or none; return (n,) which images are in it."""
    key = f"browse {label.lower()}"
    if st.session_state.get(key) not in (None, *choices):
        st.session_state[key] = None
    title = place.selectbox(
        label,
        list(choices),
        None,
        placeholder=_ANY,
        key=key,
        help=explanation,
        disabled=not choices,
    )
    mask = np.full(n, title is None)
    if title is not None:
        mask[list(choices[title])] = True
    return mask


def _by_prediction(card: ModelCard, positions: Mapping[str, int], n: int) -> Mask:
    """Let the user filter by a model's predictions on its test set; return (n,)."""
    part = numbers.test_predictions(card)
    left, right = st.columns([1, 3])
    wanted = left.segmented_control("Prediction", ["Correct", "Incorrect"], key="browse prediction")
    low, high = right.slider(
        "Confidence (%)",
        0,
        100,
        (0, 100),
        key="browse confidence",
        help="Calibrated probability of the predicted class.",
    )
    confidence = 100 * part.y_score.max(axis=1)
    kept = (confidence >= low) & (confidence <= high)
    if wanted:
        kept &= (part.y_pred == part.y_true) == (wanted == "Correct")
    mask = np.zeros(n, dtype=bool)
    files = [part.samples[i] for i in np.flatnonzero(kept)]
    mask[[positions[file] for file in files if file in positions]] = True
    return mask
