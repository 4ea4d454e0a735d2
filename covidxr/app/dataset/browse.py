"""The grid of a dataset's pictures, filtered, and one of them with its facts, its neighbors and what the models said of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import streamlit as st
from PIL import Image

from covidxr.app import numbers
from covidxr.app.dataset.datasets import BROWSED, SPLIT_TITLES
from covidxr.app.dataset.filters import HASHED, filtered, judges, table, twins_of
from covidxr.app.frame import literal, show_error
from covidxr.app.similar import cases_of_file, distance_caption, is_prepared, training_features
from covidxr.app.viewer import read_sample
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL
from covidxr.datasets.neighbors import Neighbors, principal_components
from covidxr.datasets.pixels import Pixels, decode
from covidxr.datasets.splits import SplitData
from covidxr.errors import CovidxrError
from covidxr.figures import fit_screen
from covidxr.formatting import whole_percent
from covidxr.records import GreyImage, display_name

PAGE_SIZE = 21
_NEIGHBOURS = 6
_BY_LOOKS = "No model: the pixels"


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=HASHED)
def _pixels(dataset: Dataset, size: int) -> Pixels:
    return decode(dataset, size, skip_unreadable=True)


@st.cache_resource(
    max_entries=2,
    show_spinner="Finding which pictures look alike: a few seconds, once…",
    hash_funcs=HASHED,
)
def _looks(dataset: Dataset) -> Neighbors:
    pixels = _pixels(dataset, THUMBNAIL)
    return principal_components(
        pixels.array[pixels.rows([sample.file for sample in dataset.samples])]
    )


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=HASHED)
def _rows(dataset: Dataset) -> npt.NDArray[np.int64]:
    """The row of each sample's picture in the cache of the grid."""
    return _pixels(dataset, BROWSED).rows([sample.file for sample in dataset.samples])


def browse(data: SplitData, findings: Mapping[str, Sequence[str]]) -> None:
    """Show the grid, or the picture that was opened. findings: title of an audit's finding -> its files."""
    opened = st.session_state.get("opened")
    positions = table(data).positions
    if opened in positions:
        _one_picture(data, positions[opened])
        return
    chosen = np.flatnonzero(filtered(data, findings))
    noun = "picture" if len(chosen) == 1 else "pictures"
    st.caption(f"{len(chosen):,} {noun} of {len(data.dataset.samples):,}")
    if len(chosen):
        _grid(data, chosen)


@st.fragment
def _grid(data: SplitData, chosen: npt.NDArray[np.int64]) -> None:
    pages = -(-len(chosen) // PAGE_SIZE)
    page = min(st.pagination(pages, key=f"browse page {len(chosen)}") if pages > 1 else 1, pages)
    pixels, rows = _pixels(data.dataset, BROWSED), _rows(data.dataset)
    with st.grid(min_column_width=130):
        for i in chosen[(page - 1) * PAGE_SIZE :][:PAGE_SIZE].tolist():
            with st.container(gap="xsmall"):
                _tile(data, i, pixels.array[rows[i]])


def _tile(data: SplitData, i: int, image: GreyImage) -> None:
    """Show one picture small, with a button that opens it."""
    sample = data.dataset.samples[i]
    label = display_name(data.dataset.class_names[sample.label])
    name = sample.file.rpartition("/")[2].rpartition(".")[0]
    st.image(_inline(image), width="stretch", alt=f"{name}: {label}")
    split = SPLIT_TITLES[str(data.split.names[i])]
    if st.button(
        literal(name), key=f"open {sample.file}", width="stretch", help=f"{label}, {split.lower()}"
    ):
        _open(sample.file)
        st.rerun()  # all of the page: the grid alone is drawn anew after a click in it


def _inline(image: GreyImage) -> str:
    """Return a small picture as an address that holds all of it: two dozen requests would cost a page most of its time."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _open(file: str | None) -> None:
    st.session_state["opened"] = file


def _one_picture(data: SplitData, i: int) -> None:
    """Show one picture whole, with all that is known of it."""
    dataset, sample = data.dataset, data.dataset.samples[i]
    st.button(
        "Back to the grid",
        on_click=_open,
        args=(None,),
        type="tertiary",
        icon=":material/arrow_back:",
    )
    left, right = st.columns([3, 4], gap="large")
    label = display_name(dataset.class_names[sample.label])
    try:
        picture = read_sample(dataset, sample.file)
        image = picture.image
        left.image(
            fit_screen(image),
            caption=literal(sample.file),
            width="stretch",
            output_format="PNG",
            alt=f"{sample.file}: {label}",
        )
        size = (
            f"{image.shape[1]} x {image.shape[0]} pixels, {len(dataset.read(sample.file)):,} bytes"
        )
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
            "File": size,
        }
        st.markdown("  \n".join(f"**{title}:** {literal(value)}" for title, value in facts.items()))
        group = table(data).group_of.get(i)
        if group:
            tied = (
                f"Its group: {len(table(data).groups[group])} pictures tied by patient or likeness"
            )
            st.button(tied, on_click=_show_group, args=(group,), icon=":material/group_work:")
        _verdicts(dataset, sample.file)
    twins = twins_of(dataset).get(i, [])
    st.subheader("Near-duplicates", anchor=False)
    if twins:
        _row(data, twins)
    else:
        st.caption("None was found.")
    st.subheader("Looks most alike", anchor=False)
    _alike(data, i, twins)


def _show_group(title: str) -> None:
    """Show a group in the grid, under no other filter."""
    for key in [key for key in st.session_state if str(key).startswith("browse ")]:
        del st.session_state[key]
    st.session_state.update({"browse group": title, "opened": None})


def _alike(data: SplitData, i: int, twins: Sequence[int]) -> None:
    """Show what is most like a picture: to a model, among those it was trained on, or by looks, among all."""
    dataset, file = data.dataset, data.dataset.samples[i].file
    cards = judges(dataset)
    prepared = next(
        (n for n, card in enumerate(cards.values(), start=1) if is_prepared(card, dataset)), 0
    )
    by = _BY_LOOKS
    if cards:
        by = st.selectbox(
            "In the eyes of", [_BY_LOOKS, *cards], prepared, key="alike by", width=320
        )
    if by == _BY_LOOKS:
        found = _looks(dataset).nearest(_looks(dataset).points[i], _NEIGHBOURS, {i, *twins})
        _row(data, [other for other, _ in found])
        st.caption(
            "By the leading principal components of the pictures, brightness and contrast taken out."
        )
        return
    known = training_features(cards[by], dataset)
    if known is not None:
        cases = cases_of_file(cards[by], dataset, file)
        positions = table(data).positions
        _row(
            data,
            [positions[case.file] for case in cases],
            [
                f"{case.source or 'source not known'}, distance {case.distance:.2f}"
                for case in cases
            ],
        )
        st.caption(
            f"Training pictures, none of its own patient or its near-duplicates. {distance_caption(known)}"
        )


def _row(data: SplitData, others: Sequence[int], remarks: Sequence[str] = ()) -> None:
    """Show some pictures small, each with its class and its split, or a remark in place of that."""
    pixels, rows = _pixels(data.dataset, BROWSED), _rows(data.dataset)
    with st.grid(min_column_width=130):
        for n, other in enumerate(others[:12]):
            with st.container(gap="xsmall"):
                _tile(data, other, pixels.array[rows[other]])
                label = display_name(data.dataset.class_names[data.dataset.samples[other].label])
                remark = (
                    remarks[n] if remarks else SPLIT_TITLES[str(data.split.names[other])].lower()
                )
                st.caption(literal(f"{label}, {remark}"))


def _verdicts(dataset: Dataset, file: str) -> None:
    """Show what each model said of a picture, where it was judged on it."""
    said: dict[str, list[str]] = {"Model": [], "Says": [], "Probability": []}
    for model_id, card in judges(dataset).items():
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
