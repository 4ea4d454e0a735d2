"""The training pictures that a model finds most like another picture."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import streamlit as st

from covidxr.app.cache import Picture, load
from covidxr.app.frame import literal, show_error
from covidxr.app.viewer import read_sample
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.errors import CovidxrError
from covidxr.figures import fit_screen
from covidxr.images.reading import read_image
from covidxr.prediction.similar import (
    SimilarCase,
    TrainingFeatures,
    features_at,
    features_of,
    similar_cases,
)
from covidxr.records import display_name

_TILE_EDGE = 512
_BY_STATE: dict[str | type[Any], Callable[[Any], Any]] = {
    Dataset: lambda dataset: (str(dataset.path), dataset.state)
}


def similar_section(card: ModelCard, picture: Picture, dataset: Dataset | None) -> None:
    """Show the training pictures most like one that was dropped on the page; without the model's dataset, say what is missing."""
    st.subheader("Similar training pictures", anchor=False)
    if dataset is None:
        st.caption(
            "Which of the pictures that the model learned from are most like this one? To see them, name the folder or zip of "
            f"{literal(card.dataset_name)} in the sidebar."
        )
        return
    try:
        known = training_features(card, dataset)
        if known is not None:
            cases = _cases_of_picture(
                card.model_id, card.weights_sha256, dataset, picture.sha256, picture
            )
            st.markdown(literal(_summary(cases)))
            if any(case.twin for case in cases):
                st.warning(
                    "The model learned from a picture nearly the same as this one: what it says here proves little."
                )
            with st.grid(min_column_width=150):
                for case in cases:
                    with st.container(gap="xsmall"):
                        _tile(dataset, case)
            st.caption(
                f"{distance_caption(known)} Whether one of them is of the same patient is not known."
            )
    except CovidxrError as error:
        show_error(str(error))


def training_features(card: ModelCard, dataset: Dataset) -> TrainingFeatures | None:
    """Return the features of a model's training pictures; where they must be worked out first, offer that and return None."""
    if not is_prepared(card, dataset):
        place = st.empty()
        with place.container():
            n = sum(card.class_counts["train"].values())
            st.caption(
                f"The model has to look at its {n:,} training pictures again first, once; 10,000 take some minutes."
            )
            if not st.button(
                "Summary at them", key=f"prepare {card.model_id}", icon=":material/visibility:"
            ):
                return None
        with place.container():
            _prepare(card, dataset)
        place.empty()
    return _features(card.model_id, card.weights_sha256, dataset)


def is_prepared(card: ModelCard, dataset: Dataset) -> bool:
    """Whether the features of a model's training pictures are worked out already."""
    return features_at(card, dataset).exists()


def cases_of_file(card: ModelCard, dataset: Dataset, file: str) -> tuple[SimilarCase, ...]:
    """Return the training pictures most like one of the dataset, once they are prepared; none of its own patient."""
    return _cases_of_file(card.model_id, card.weights_sha256, dataset, file)


def distance_caption(known: TrainingFeatures) -> str:
    """Say what the distances mean."""
    return (
        f"Distance: 0 where the network sees no difference; two training pictures drawn at random lie {known.usual:.2f} apart. "
        "Pictures may be alike to it by exposure or frame as well as by the lungs, and this is no second opinion."
    )


def _prepare(card: ModelCard, dataset: Dataset) -> None:
    """Work the features out, with a progress bar."""
    bar, started = st.progress(0.0, "Opening the training pictures…"), time.monotonic()

    def show(done: int, total: int) -> None:
        left = (time.monotonic() - started) / done * (total - done)
        how_long = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        bar.progress(
            done / total, f"{done:,} of {total:,} training pictures seen, about {how_long} left"
        )

    features_of(load(card.model_id, card.weights_sha256), dataset, show)


def _summary(cases: tuple[SimilarCase, ...]) -> str:
    tally = Counter(case.class_name for case in cases).most_common()
    if len(tally) == 1:
        return f"Of the {len(cases)} nearest, all are {display_name(tally[0][0])}."
    return (
        f"Of the {len(cases)} nearest, "
        + ", ".join(f"{n} {display_name(name)}" for name, n in tally)
        + "."
    )


def _tile(dataset: Dataset, case: SimilarCase) -> None:
    name, title = case.file.rpartition("/")[2].rpartition(".")[0], display_name(case.class_name)
    try:
        image = read_image(read_sample(dataset, case.file).content, case.file)
        alt = f"{name}: {title}, distance {case.distance:.2f}"
        st.image(fit_screen(image, _TILE_EDGE), width="stretch", output_format="PNG", alt=alt)
    except CovidxrError as error:
        show_error(str(error))
    nearly = "nearly the same picture, " if case.twin else ""
    st.markdown(f"**{literal(title)}**")
    st.caption(
        literal(
            f"{name}, {case.source or 'source not known'}, {nearly}distance {case.distance:.2f}"
        )
    )


# A parameter whose name begins with an underscore is no part of the key.


@st.cache_resource(
    max_entries=2,
    show_spinner="Opening the training pictures: a few seconds, once…",
    hash_funcs=_BY_STATE,
)
def _features(model_id: str, weights_sha256: str, dataset: Dataset) -> TrainingFeatures:
    return features_of(load(model_id, weights_sha256), dataset)


@st.cache_resource(max_entries=128, show_spinner=False, hash_funcs=_BY_STATE)
def _cases_of_picture(
    model_id: str, weights_sha256: str, dataset: Dataset, picture_sha256: str, _picture: Picture
) -> tuple[SimilarCase, ...]:
    image = read_image(_picture.content, _picture.name)
    return similar_cases(
        load(model_id, weights_sha256), _features(model_id, weights_sha256, dataset), image
    )


@st.cache_resource(max_entries=128, show_spinner=False, hash_funcs=_BY_STATE)
def _cases_of_file(
    model_id: str, weights_sha256: str, dataset: Dataset, file: str
) -> tuple[SimilarCase, ...]:
    return similar_cases(
        load(model_id, weights_sha256), _features(model_id, weights_sha256, dataset), file
    )
