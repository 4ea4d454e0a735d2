"""Gallery of the Dataset page: filtered thumbnails, and one image with its details."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import streamlit as st
from PIL import Image

from covidxr.app import numbers
from covidxr.app.cache import HASH_FUNCS
from covidxr.app.dataset.filters import evaluated_models, filtered, index, near_duplicates
from covidxr.app.dataset.overview import GALLERY_EDGE
from covidxr.app.frame import literal, show_error
from covidxr.app.similar import cases_of_file, distance_caption, is_prepared, training_features
from covidxr.app.splits import SPLIT_TITLES
from covidxr.app.viewer import read_sample
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL
from covidxr.datasets.neighbors import Neighbors, principal_components
from covidxr.datasets.pixels import Pixels, decode
from covidxr.datasets.splits import SplitData
from covidxr.errors import CovidxrError
from covidxr.figures import fit_screen
from covidxr.formatting import count, whole_percent
from covidxr.records import GrayImage, display_name

PAGE_SIZE = 21
_SHOWN_DUPLICATES = 12
_NEIGHBORS = 6
_BY_PIXELS = "Pixels (PCA)"


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=HASH_FUNCS)
def _pixels(dataset: Dataset, size: int) -> Pixels:
    return decode(dataset, size, skip_unreadable=True)


@st.cache_resource(max_entries=2, show_spinner="Comparing images…", hash_funcs=HASH_FUNCS)
def _pixel_space(dataset: Dataset) -> Neighbors:
    pixels = _pixels(dataset, THUMBNAIL)
    return principal_components(
        pixels.array[pixels.rows([sample.file for sample in dataset.samples])]
    )


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=HASH_FUNCS)
def _rows(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the row of each sample in the decoded gallery images."""
    return _pixels(dataset, GALLERY_EDGE).rows([sample.file for sample in dataset.samples])


def gallery(data: SplitData, issues: Mapping[str, Sequence[str]]) -> None:
    """Show the filtered images, or the one that the user opened.

    Args:
        data: The split dataset.
        issues: Files of each quality issue that an audit found, by its title.
    """
    opened = st.session_state.get("opened")
    positions = index(data).positions
    if opened in positions:
        _details(data, positions[opened])
        return
    chosen = np.flatnonzero(filtered(data, issues))
    st.caption(f"{len(chosen):,} of {count(len(data.dataset.samples))}")
    if len(chosen):
        _grid(data, chosen)


@st.fragment
def _grid(data: SplitData, chosen: npt.NDArray[np.int64]) -> None:
    pages = -(-len(chosen) // PAGE_SIZE)
    page = min(st.pagination(pages, key=f"browse page {len(chosen)}") if pages > 1 else 1, pages)
    pixels, rows = _pixels(data.dataset, GALLERY_EDGE), _rows(data.dataset)
    with st.grid(min_column_width=130):
        for i in chosen[(page - 1) * PAGE_SIZE :][:PAGE_SIZE].tolist():
            with st.container(gap="xsmall"):
                _tile(data, i, pixels.array[rows[i]])


def _tile(data: SplitData, i: int, image: GrayImage) -> None:
    """Show a thumbnail with a button that opens the image."""
    sample = data.dataset.samples[i]
    label = display_name(data.dataset.class_names[sample.label])
    name = sample.file.rpartition("/")[2].rpartition(".")[0]
    st.image(_data_url(image), width="stretch", alt=f"{name}: {label}")
    split = SPLIT_TITLES[str(data.split.names[i])]
    if st.button(
        literal(name), key=f"open {sample.file}", width="stretch", help=f"{label}, {split.lower()}"
    ):
        _open(sample.file)
        # The whole page: a click in a fragment reruns the fragment alone.
        st.rerun()


def _data_url(image: GrayImage) -> str:
    """Return a thumbnail as a data URL: a page of separate requests loads much more slowly."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _open(file: str | None) -> None:
    st.session_state["opened"] = file


def _details(data: SplitData, i: int) -> None:
    """Show one image with its facts, predictions, near-duplicates and most similar images."""
    dataset = data.dataset
    st.button(
        "Back to gallery",
        on_click=_open,
        args=(None,),
        type="tertiary",
        icon=":material/arrow_back:",
    )
    left, right = st.columns([3, 4], gap="large")
    with left:
        size = _image(dataset, i)
    with right:
        _facts(data, i, size)
        _predictions(dataset, dataset.samples[i].file)
    duplicates = near_duplicates(dataset).get(i, [])
    st.subheader("Near-duplicates", anchor=False)
    if duplicates:
        _row(data, duplicates[:_SHOWN_DUPLICATES])
    else:
        st.caption("None")
    st.subheader("Most similar images", anchor=False)
    _most_similar(data, i, duplicates)


def _image(dataset: Dataset, i: int) -> str:
    """Show an image as large as its column; return its size in pixels."""
    sample = dataset.samples[i]
    try:
        image = read_sample(dataset, sample.file).image
    except CovidxrError as error:
        show_error(str(error))
        return "unreadable"
    st.image(
        fit_screen(image),
        caption=literal(sample.file),
        width="stretch",
        output_format="PNG",
        alt=f"{sample.file}: {display_name(dataset.class_names[sample.label])}",
    )
    return f"{image.shape[1]} x {image.shape[0]} px"


def _facts(data: SplitData, i: int, size: str) -> None:
    sample = data.dataset.samples[i]
    facts = {
        "Class": display_name(data.dataset.class_names[sample.label]),
        "Split": SPLIT_TITLES[str(data.split.names[i])],
        "Source": sample.source or "unknown",
        "Patient": sample.patient_id or "unknown",
        "Size": size,
    }
    st.markdown("  \n".join(f"**{title}:** {literal(value)}" for title, value in facts.items()))
    group = index(data).group_of.get(i)
    if group:
        n = len(index(data).groups[group])
        st.button(
            f"Group: {n} images (same patient or near-duplicate)",
            on_click=_show_group,
            args=(group,),
            icon=":material/group_work:",
        )


def _show_group(title: str) -> None:
    """Show a group in the gallery, without any other filter."""
    for key in [key for key in st.session_state if str(key).startswith("browse ")]:
        del st.session_state[key]
    st.session_state.update({"browse group": title, "opened": None})


def _most_similar(data: SplitData, i: int, duplicates: Sequence[int]) -> None:
    """Show the images most similar to one: by pixels, or the training images by a model."""
    dataset, file = data.dataset, data.dataset.samples[i].file
    cards = evaluated_models(dataset)
    prepared = next(
        (n for n, card in enumerate(cards.values(), start=1) if is_prepared(card, dataset)), 0
    )
    by = _BY_PIXELS
    if cards:
        by = st.selectbox(
            "Similarity by", [_BY_PIXELS, *cards], prepared, key="similarity", width=320
        )
    if by == _BY_PIXELS:
        space = _pixel_space(dataset)
        found = space.nearest(space.points[i], _NEIGHBORS, {i, *duplicates})
        _row(data, [other for other, _ in found])
        st.caption(
            "Nearest by the leading principal components of the pixels, after intensity "
            "normalization. Near-duplicates excluded."
        )
        return
    known = training_features(cards[by], dataset)
    if known is not None:
        cases = cases_of_file(cards[by], dataset, file)
        positions = index(data).positions
        _row(
            data,
            [positions[case.file] for case in cases],
            [f"{case.source or 'unknown source'}, distance {case.distance:.2f}" for case in cases],
        )
        st.caption(
            f"Training images; same patient and near-duplicates excluded. {distance_caption(known)}"
        )


def _row(data: SplitData, others: Sequence[int], remarks: Sequence[str] = ()) -> None:
    """Show thumbnails with their class and a remark, by default the split."""
    pixels, rows = _pixels(data.dataset, GALLERY_EDGE), _rows(data.dataset)
    with st.grid(min_column_width=130):
        for n, other in enumerate(others):
            with st.container(gap="xsmall"):
                _tile(data, other, pixels.array[rows[other]])
                label = display_name(data.dataset.class_names[data.dataset.samples[other].label])
                split = SPLIT_TITLES[str(data.split.names[other])].lower()
                st.caption(literal(f"{label}, {remarks[n] if remarks else split}"))


def _predictions(dataset: Dataset, file: str) -> None:
    """Show the prediction of each model that has the image in its test set."""
    columns: dict[str, list[str]] = {"Model": [], "Prediction": [], "Probability": []}
    for model_id, card in evaluated_models(dataset).items():
        prediction, probability = "not in its test set", ""
        if file in numbers.rows(card):
            scores = numbers.scores_of(card, file)
            predicted = int(np.argmax(scores))
            prediction = display_name(card.class_names[predicted])
            probability = whole_percent(scores[predicted])
        for column, value in zip(
            columns.values(), (model_id, prediction, probability), strict=True
        ):
            column.append(value)
    if columns["Model"]:
        st.dataframe(columns, hide_index=True, alt="Prediction of each model for this image")
