"""Gallery of test images with the models' predictions and, on demand, heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from covidxr.app import numbers
from covidxr.app.cache import DECODED, HASH_FUNCS, Case, explain, read_case
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
from covidxr.records import Scores, display_name
from covidxr.reports.sentences import heat_caption

PAGE_SIZE = 6
TILE_EDGE = 512
"""Long edge of an image in a gallery, in pixels."""
TABLE_ROWS = 100


def choose_dataset(card: ModelCard) -> Dataset | None:
    """Let the user name a model's dataset in the sidebar, for all pages; None until it is found."""
    named = st.sidebar.text_input(
        "Dataset folder or zip",
        variable("COVIDXR_DATASET"),
        key="dataset",
        persist_state="session",
        placeholder="COVID-19_Radiography_Dataset",
        help=f"Path on the server to {literal(card.dataset_name)}. Needed for image display only.",
    )
    if card.external in list_imports():
        named = card.external
    if not named and not card.synthetic:
        return None
    try:
        dataset = opened_dataset(named or str(default_dataset()))
        check_dataset(dataset, card)
        return dataset
    except DatasetError as error:
        if named:
            st.sidebar.error(literal(str(error)))
        return None


@st.cache_resource(max_entries=4, ttl=600, show_spinner="Opening the dataset…")
def opened_dataset(path: str) -> Dataset:
    """Return the dataset at a path, listed but not decoded. Raises DatasetError."""
    return open_dataset(path)


@st.cache_resource(max_entries=DECODED, show_spinner=False, hash_funcs=HASH_FUNCS)
def read_sample(dataset: Dataset, file: str) -> Case:
    """Return an image of a dataset as if it had been uploaded. Raises DatasetError."""
    return read_case(file, dataset.read(file), dataset.synthetic)


@st.fragment
def gallery(
    cards: Sequence[ModelCard], samples: Sequence[str], dataset: Dataset | None, key: str
) -> None:
    """Show test images, one page at a time, with the predictions of some models.

    Args:
        cards: Of the models.
        samples: Files of the test images.
        dataset: Where they are read from; None for a table without images.
        key: Of the selection; another one starts on its first page.
    """
    if not samples:
        st.caption("No images.")
        return
    if dataset is None:
        st.info(
            "Images not available: set the dataset folder or zip in the sidebar. List of files:"
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
    true_class, predictions = _predictions(cards, sample)
    place = st.empty()
    st.markdown(f"**{literal(name)}**  \nTrue class: {literal(true_class)}")
    for card, text in zip(cards, predictions, strict=True):
        st.caption(literal(text if len(cards) == 1 else f"{card.model_id}: {text}"))
    with_heat_map = st.toggle("Heat map", key=key)
    with place.container():
        try:
            case = read_sample(dataset, sample)
            image = fit_screen(case.image, TILE_EDGE)
            alt = f"{name}, {true_class}; {predictions[0]}"
            if not with_heat_map:
                st.image(image, width="stretch", output_format="PNG", alt=alt)
                return
            for card in cards:
                _heat_map(card, case, numbers.scores_of(card, sample), len(cards) > 1, alt)
        except CovidxrError as error:
            show_error(str(error))


def _heat_map(card: ModelCard, case: Case, scores: Scores, named: bool, alt: str) -> None:
    """Show an image with the heat map of its predicted class."""
    predicted = card.class_names[int(np.argmax(scores))]
    attribution = explain(card, case, predicted)
    caption = heat_caption(attribution)
    st.image(
        heat_overlay(fit_screen(case.image, TILE_EDGE), attribution.heat, 0.6),
        caption=f"{literal(card.model_id)}: {caption}" if named else caption,
        width="stretch",
        alt=f"{alt}; heat map for {display_name(predicted)}",
    )


def _predictions(cards: Sequence[ModelCard], sample: str) -> tuple[str, list[str]]:
    """Return a sample's true class and each model's probabilities, the highest first."""
    part = numbers.test_predictions(cards[0])
    true_class = display_name(part.class_names[part.y_true[numbers.rows(cards[0])[sample]]])
    texts = []
    for card in cards:
        scores = numbers.scores_of(card, sample)
        texts.append(
            ", ".join(
                f"{display_name(card.class_names[k])} {whole_percent(scores[k])}"
                for k in np.argsort(-scores)
            )
        )
    return true_class, texts


def _table(cards: Sequence[ModelCard], samples: Sequence[str]) -> None:
    shown = samples[:TABLE_ROWS]
    found = [_predictions(cards, sample) for sample in shown]
    columns = {card.model_id: [texts[i] for _, texts in found] for i, card in enumerate(cards)}
    st.dataframe(
        {"Image": list(shown), "True class": [true_class for true_class, _ in found], **columns},
        hide_index=True,
        alt="Images with their true class and the models' predictions",
    )
    if len(samples) > TABLE_ROWS:
        st.caption(f"First {TABLE_ROWS} of {len(samples):,} images.")
