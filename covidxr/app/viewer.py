"""The gallery: test pictures, what models said of them, and on demand where they looked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from covidxr.app import numbers
from covidxr.app.cache import Picture, explain
from covidxr.app.frame import literal, show_error
from covidxr.cards import ModelCard
from covidxr.config import variable
from covidxr.datasets.custom import list_imports
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.phantoms import default_dataset
from covidxr.datasets.splits import check_dataset
from covidxr.errors import CovidxrError, DatasetError
from covidxr.figures import fit_screen, heat_overlay
from covidxr.formatting import whole_percent
from covidxr.images.reading import read_image
from covidxr.records import display_name
from covidxr.reports.sentences import heat_caption

PAGE_SIZE = 6
TILE_EDGE = 512
TABLE_ROWS = 100


def choose_dataset(card: ModelCard) -> Dataset | None:
    """Let the reader say, in the sidebar and for all pages, where a model's pictures lie; None until they are found there."""
    named = st.sidebar.text_input(
        "Dataset folder or zip",
        variable("COVIDXR_DATASET"),
        key="dataset",
        persist_state="session",
        placeholder="COVID-19_Radiography_Dataset",
        help=f"Where the pictures of {literal(card.dataset_name)} lie on this machine. Figures need no pictures, galleries do.",
    )
    if card.external in list_imports():
        named = card.external
    if not named and not card.synthetic:
        return None
    try:
        return _open(card, named or str(default_dataset()))
    except DatasetError as error:
        if named:
            st.sidebar.error(literal(str(error)))
        return None


def _open(card: ModelCard, path: str) -> Dataset:
    dataset = opened_dataset(path)
    check_dataset(dataset, card)
    return dataset


@st.cache_resource(max_entries=4, ttl=600, show_spinner="Opening the dataset…")
def opened_dataset(path: str) -> Dataset:
    """Return the dataset at a path, listed but not decoded. Raises DatasetError."""
    return open_dataset(path)


@st.cache_resource(
    max_entries=256,
    show_spinner=False,
    hash_funcs={Dataset: lambda dataset: (str(dataset.path), dataset.state)},
)
def read_sample(dataset: Dataset, file: str) -> Picture:
    """Return a dataset's picture as if it had been dropped on the page."""
    return Picture.of(file, dataset.read(file), dataset.synthetic)


@st.fragment
def gallery(
    cards: Sequence[ModelCard], samples: Sequence[str], dataset: Dataset | None, key: str
) -> None:
    """Show test samples, a page at a time, each with what every one of the models said of it.

    key: names the selection: another one begins on its first page.
    """
    if not samples:
        st.caption("No picture of the test split is here.")
        return
    if dataset is None:
        st.info(
            "To see the pictures, name the dataset's folder or zip in the sidebar. Their names and figures are here without:"
        )
        _table(cards, samples)
        return
    pages = -(-len(samples) // PAGE_SIZE)
    page = st.pagination(pages, key=f"{key} page") if pages > 1 else 1
    with st.grid(min_column_width=150):
        for sample in samples[(page - 1) * PAGE_SIZE :][:PAGE_SIZE]:
            with st.container(gap="xsmall"):
                _tile(cards, sample, dataset, f"{key} {sample}")


def _tile(cards: Sequence[ModelCard], sample: str, dataset: Dataset, key: str) -> None:
    name = sample.rpartition("/")[2].rpartition(".")[0]
    truth, sayings = _said(cards, sample)
    place = st.empty()
    st.markdown(f"**{literal(name)}**  \nTruth: {literal(truth)}")
    for card, saying in zip(cards, sayings, strict=True):
        st.caption(literal(saying if len(cards) == 1 else f"{card.model_id}: {saying}"))
    asked = st.toggle("Heat map", key=key)
    try:
        picture = read_sample(dataset, sample)
        image = read_image(picture.content, sample)
        alt = f"{name}, {truth}; {sayings[0]}"
        if not asked:
            place.image(fit_screen(image, TILE_EDGE), width="stretch", output_format="PNG", alt=alt)
            return
        with place.container():
            for card in cards:
                called = card.class_names[int(np.argmax(numbers.scores_of(card, sample)))]
                attribution = explain(card, picture, called)
                overlay = heat_overlay(fit_screen(image, TILE_EDGE), attribution.heat, 0.6)
                caption = (
                    heat_caption(attribution)
                    if len(cards) == 1
                    else f"{literal(card.model_id)}: {heat_caption(attribution)}"
                )
                st.image(
                    overlay,
                    caption=caption,
                    width="stretch",
                    alt=f"{alt}; heat map for {display_name(called)}",
                )
    except CovidxrError as error:
        with place.container():
            show_error(str(error))


def _said(cards: Sequence[ModelCard], sample: str) -> tuple[str, list[str]]:
    """The true class of a test sample, and each model's probabilities in words, the highest first."""
    part = numbers.test_predictions(cards[0])
    truth = display_name(part.class_names[part.y_true[numbers.rows(cards[0])[sample]]])
    sayings = []
    for card in cards:
        scores = numbers.scores_of(card, sample)
        order = np.argsort(-scores)
        said = ", ".join(
            f"{display_name(card.class_names[k])} {whole_percent(scores[k])}" for k in order
        )
        # A figure does not part from its sign.
        sayings.append(said.replace(" %", "\u00a0%"))
    return truth, sayings


def _table(cards: Sequence[ModelCard], samples: Sequence[str]) -> None:
    said = [_said(cards, sample) for sample in samples[:TABLE_ROWS]]
    columns = {card.model_id: [sayings[i] for _, sayings in said] for i, card in enumerate(cards)}
    st.dataframe(
        {"Picture": list(samples[:TABLE_ROWS]), "Truth": [truth for truth, _ in said], **columns},
        hide_index=True,
        alt="The pictures with their true class and what each model said",
    )
    if len(samples) > TABLE_ROWS:
        st.caption(f"The first {TABLE_ROWS} of {len(samples):,}; the download holds them all.")
