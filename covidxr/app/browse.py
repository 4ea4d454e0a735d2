"""The grid of a dataset's pictures, filtered, and one of them with its facts, its neighbours and what the models said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from covidxr import workflows
from covidxr.app import numbers
from covidxr.app.datasets import BROWSED, SPLIT_TITLES
from covidxr.app.frame import literal, show_error
from covidxr.app.viewer import read_sample
from covidxr.app.widgets import stored_models
from covidxr.data.dataset import Dataset
from covidxr.data.duplicates import THUMBNAIL, find_twins
from covidxr.data.neighbours import Looks, measure_looks
from covidxr.data.pixels import Pixels, decode
from covidxr.errors import CovidxrError
from covidxr.figures import fit_screen, whole_percent
from covidxr.records import SPLITS, GreyImage, ModelCard, display_name
from covidxr.workflows import SplitData

PAGE_SIZE = 24
_NEIGHBOURS = 6
_ANY = "Any"
_HASHED: dict[str | type[Any], Callable[[Any], Any]] = {
    Dataset: lambda dataset: (str(dataset.path), dataset.state, len(dataset.samples))
}

Mask = npt.NDArray[np.bool_]


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=_HASHED)
def _pixels(dataset: Dataset, size: int) -> Pixels:
    return decode(dataset, size, skip_unreadable=True)


@st.cache_resource(max_entries=2, show_spinner="Finding which pictures look alike: a few seconds, once…", hash_funcs=_HASHED)
def _looks(dataset: Dataset) -> Looks:
    pixels = _pixels(dataset, THUMBNAIL)
    return measure_looks(pixels.array[pixels.rows([sample.file for sample in dataset.samples])])


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=_HASHED)
def _twins(dataset: Dataset) -> dict[int, list[int]]:
    twins: dict[int, list[int]] = {}
    for a, b in find_twins(dataset, _pixels(dataset, THUMBNAIL)).tolist():
        twins.setdefault(a, []).append(b)
        twins.setdefault(b, []).append(a)
    return twins


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=_HASHED)
def _places(dataset: Dataset) -> tuple[dict[str, int], npt.NDArray[np.int64]]:
    """The position of each file, and the row of each sample's picture in the cache of the grid."""
    files = [sample.file for sample in dataset.samples]
    return {file: i for i, file in enumerate(files)}, _pixels(dataset, BROWSED).rows(files)


def browse(data: SplitData, findings: Mapping[str, Sequence[str]]) -> None:
    """Show the grid, or the picture that was opened. findings: title of an audit's finding -> its files."""
    opened = st.session_state.get("opened")
    positions, _ = _places(data.dataset)
    if opened in positions:
        _one_picture(data, positions[opened])
        return
    chosen = np.flatnonzero(_filtered(data, findings, positions))
    noun = "picture" if len(chosen) == 1 else "pictures"
    st.caption(f"{len(chosen):,} {noun} of {len(data.dataset.samples):,}")
    if len(chosen):
        _grid(data, chosen)


def _filtered(data: SplitData, findings: Mapping[str, Sequence[str]], positions: Mapping[str, int]) -> Mask:
    """Let the reader choose which pictures are shown; return (N,) which they are."""
    dataset, split = data.dataset, data.split
    keep = np.ones(len(dataset.samples), dtype=bool)
    one, two, three, four = st.columns(4)
    names = one.multiselect("Class", list(dataset.class_names), format_func=display_name, placeholder=_ANY, key="browse class")
    if names:
        keep &= np.isin(split.labels, [dataset.class_names.index(name) for name in names])
    parts = two.multiselect("Split", list(SPLITS), format_func=SPLIT_TITLES.__getitem__, placeholder=_ANY, key="browse split")
    if parts:
        keep &= np.isin(split.names, parts)
    sources = np.array([sample.source or "unknown" for sample in dataset.samples])
    wanted = three.multiselect("Source", sorted(set(sources.tolist())), placeholder=_ANY, key="browse source")
    if wanted:
        keep &= np.isin(sources, wanted)
    text = four.text_input("File or patient", placeholder="Part of a name", key="browse text").strip().casefold()
    if text:
        said = (f"{sample.file} {sample.patient_id or ''}".casefold() for sample in dataset.samples)
        keep &= np.fromiter((text in words for words in said), dtype=bool, count=len(keep))
    one, two, three, four = st.columns(4)
    if st.session_state.get("browse finding") not in (_ANY, *findings):
        st.session_state["browse finding"] = _ANY
    why = None if findings else "Run the audit first, in the next part of this page."
    finding = one.selectbox("Finding of the audit", [_ANY, *findings], key="browse finding", help=why)
    if finding != _ANY:
        found = np.zeros(len(keep), dtype=bool)
        found[[positions[file] for file in findings[finding] if file in positions]] = True
        keep &= found
    if two.checkbox("Has a near-duplicate", key="browse twins"):
        twins = np.zeros(len(keep), dtype=bool)
        twins[list(_twins(dataset))] = True
        keep &= twins
    cards = _judges(dataset)
    judge = three.selectbox("Judged by", [_ANY, *cards], key="browse model", help="A model's verdict on its own test pictures.")
    if judge != _ANY:
        keep &= _by_verdict(cards[judge], positions, len(keep), four)
    return keep


def _by_verdict(card: ModelCard, positions: Mapping[str, int], n: int, place: st.delta_generator.DeltaGenerator) -> Mask:
    part = numbers.test_predictions(card)
    verdict = place.segmented_control("Verdict", ["Right", "Wrong"], key="browse verdict")
    low, high = st.slider("Confidence (%)", 0, 100, (0, 100), key="browse confidence", help="Of the class it called.")
    sure = 100 * part.y_score.max(axis=1)
    kept = (sure >= low) & (sure <= high)
    if verdict:
        kept &= (part.y_pred == part.y_true) == (verdict == "Right")
    mask = np.zeros(n, dtype=bool)
    mask[[positions[part.samples[i]] for i in np.flatnonzero(kept) if part.samples[i] in positions]] = True
    return mask


def _judges(dataset: Dataset) -> dict[str, ModelCard]:
    """The models that were judged on this dataset."""
    cards = (entry.card for entry in stored_models())
    return {card.model_id: card for card in cards if card and card.dataset_fingerprint == dataset.fingerprint}


def _grid(data: SplitData, chosen: npt.NDArray[np.int64]) -> None:
    pages = -(-len(chosen) // PAGE_SIZE)
    page = min(st.pagination(pages, key=f"browse page {len(chosen)}") if pages > 1 else 1, pages)
    pixels, rows = _pixels(data.dataset, BROWSED), _places(data.dataset)[1]
    with st.grid(min_column_width=130):
        for i in chosen[(page - 1) * PAGE_SIZE :][:PAGE_SIZE].tolist():
            with st.container(gap="xsmall"):
                _tile(data, i, pixels.array[rows[i]])


def _tile(data: SplitData, i: int, image: GreyImage) -> None:
    """Show one picture small, with a button that opens it."""
    sample = data.dataset.samples[i]
    label = display_name(data.dataset.class_names[sample.label])
    name = sample.file.rpartition("/")[2].rpartition(".")[0]
    st.image(image, width="stretch", output_format="PNG", alt=f"{name}: {label}")
    split = SPLIT_TITLES[str(data.split.names[i])]
    st.button(
        literal(name),
        key=f"open {sample.file}",
        on_click=_open,
        args=(sample.file,),
        width="stretch",
        help=f"{label}, {split.lower()}",
    )


def _open(file: str | None) -> None:
    st.session_state["opened"] = file


def _one_picture(data: SplitData, i: int) -> None:
    """Show one picture whole, with all that is known of it."""
    dataset, sample = data.dataset, data.dataset.samples[i]
    st.button("Back to the grid", on_click=_open, args=(None,), type="tertiary", icon=":material/arrow_back:")
    left, right = st.columns([3, 4], gap="large")
    label = display_name(dataset.class_names[sample.label])
    try:
        picture = read_sample(dataset, sample.file)
        image = workflows.read_picture(picture.content, sample.file)
        left.image(
            fit_screen(image), caption=literal(sample.file), width="stretch", output_format="PNG", alt=f"{sample.file}: {label}"
        )
        size = f"{image.shape[1]} x {image.shape[0]} pixels, {len(picture.content):,} bytes"
    except CovidxrError as error:
        with left:
            show_error(str(error))
        size = "cannot be read"
    with right:
        facts = {
            "Class": label,
            "Split": SPLIT_TITLES[str(data.split.names[i])],
            "Source": sample.source or "not known",
            "Patient": sample.patient_id or "not known",
            "Group": f"{int((data.split.groups == data.split.groups[i]).sum())} pictures tied by patient or likeness",
            "File": size,
        }
        st.markdown("  \n".join(f"**{title}:** {literal(value)}" for title, value in facts.items()))
        _verdicts(dataset, sample.file)
    twins = _twins(dataset).get(i, [])
    st.subheader("Near-duplicates", anchor=False)
    if twins:
        _row(data, twins)
    else:
        st.caption("None was found.")
    st.subheader("Looks most alike", anchor=False)
    alike = [other for other in _looks(dataset).nearest(i, _NEIGHBOURS + len(twins)) if other not in twins][:_NEIGHBOURS]
    _row(data, alike)
    st.caption("By the leading principal components of the pictures, brightness and contrast taken out.")


def _row(data: SplitData, others: Sequence[int]) -> None:
    pixels, rows = _pixels(data.dataset, BROWSED), _places(data.dataset)[1]
    with st.grid(min_column_width=130):
        for other in others[:12]:
            with st.container(gap="xsmall"):
                _tile(data, other, pixels.array[rows[other]])
                sample = data.dataset.samples[other]
                label = display_name(data.dataset.class_names[sample.label])
                st.caption(f"{label}, {SPLIT_TITLES[str(data.split.names[other])].lower()}")


def _verdicts(dataset: Dataset, file: str) -> None:
    """Show what each model said of a picture, where it was judged on it."""
    said: dict[str, list[str]] = {"Model": [], "Says": [], "Probability": []}
    for model_id, card in _judges(dataset).items():
        if file in numbers.rows(card):
            scores = numbers.scores_of(card, file)
            called = int(np.argmax(scores))
            row = (model_id, display_name(card.class_names[called]), whole_percent(scores[called]))
        else:
            row = (model_id, "not among its test pictures", "")
        for column, value in zip(said.values(), row, strict=True):
            column.append(value)
    if said["Model"]:
        st.dataframe(said, hide_index=True, alt="What each model says of this picture")
