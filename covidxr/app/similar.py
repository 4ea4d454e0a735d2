"""Similar training cases: nearest neighbors of an image in a model's feature space."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from covidxr.app.cache import HASH_FUNCS, Case, load
from covidxr.app.frame import literal, show_error
from covidxr.app.viewer import TILE_EDGE, read_sample
from covidxr.app.widgets import progress
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.errors import CovidxrError
from covidxr.figures import fit_screen
from covidxr.formatting import count
from covidxr.prediction.similar import (
    SimilarCase,
    TrainingFeatures,
    features_file,
    features_of,
    similar_cases,
)
from covidxr.records import display_name


def similar_section(card: ModelCard, case: Case, dataset: Dataset | None) -> None:
    """Show the training images most similar to a case, or what is missing for that."""
    st.subheader("Similar training cases", anchor=False)
    if dataset is None:
        st.caption(
            "Nearest neighbors of this image among the model's training images. To see them, set "
            f"the folder or zip of {literal(card.dataset_name)} in the sidebar."
        )
        return
    try:
        known = training_features(card, dataset)
        if known is None:
            return
        found = _similar_to_case(card.model_id, card.weights_sha256, dataset, case.sha256, case)
        st.markdown(literal(_summary(found)))
        if any(one.near_duplicate for one in found):
            st.warning(
                "A near-duplicate of this image is in the training set: the prediction is not "
                "meaningful."
            )
        with st.grid(min_column_width=150):
            for one in found:
                with st.container(gap="xsmall"):
                    _tile(dataset, one)
        st.caption(f"{distance_caption(known)} It is not known whether they show the same patient.")
    except CovidxrError as error:
        show_error(str(error))


def training_features(card: ModelCard, dataset: Dataset) -> TrainingFeatures | None:
    """Return the embeddings of a model's training images; None until the user computes them."""
    if not is_prepared(card, dataset):
        place = st.empty()
        with place.container():
            n = count(sum(card.class_counts["train"].values()), "training image")
            st.caption(
                f"The embeddings of the model's {n} must be computed once; 10,000 take several "
                "minutes."
            )
            if not st.button(
                "Compute embeddings", key=f"prepare {card.model_id}", icon=":material/hub:"
            ):
                return None
        with (
            place.container(),
            progress("Computing embeddings of the training images") as watch,
        ):
            features_of(load(card.model_id, card.weights_sha256), dataset, watch)
        place.empty()
    return _features(card.model_id, card.weights_sha256, dataset)


def is_prepared(card: ModelCard, dataset: Dataset) -> bool:
    """Whether the embeddings of a model's training images are stored."""
    return features_file(card, dataset).exists()


def cases_of_file(card: ModelCard, dataset: Dataset, file: str) -> tuple[SimilarCase, ...]:
    """Return the training images most similar to an image of the dataset, once prepared.

    Images of its own patient are excluded.
    """
    return _similar_to_file(card.model_id, card.weights_sha256, dataset, file)


def distance_caption(known: TrainingFeatures) -> str:
    """Explain the distances between images in feature space."""
    return (
        "Distance in feature space: 0 = identical; median between random training images: "
        f"{known.usual:.2f}. Similarity may reflect exposure or positioning instead of the lungs. "
        "Not a second opinion."
    )


def _summary(found: tuple[SimilarCase, ...]) -> str:
    tally = Counter(one.class_name for one in found).most_common()
    classes = ", ".join(f"{n} {display_name(name)}" for name, n in tally)
    return f"True class of the {len(found)} nearest: {classes}."


def _tile(dataset: Dataset, one: SimilarCase) -> None:
    name, title = one.file.rpartition("/")[2].rpartition(".")[0], display_name(one.class_name)
    distance = f"distance {one.distance:.2f}"
    try:
        st.image(
            fit_screen(read_sample(dataset, one.file).image, TILE_EDGE),
            width="stretch",
            output_format="PNG",
            alt=f"{name}: {title}, {distance}",
        )
    except CovidxrError as error:
        show_error(str(error))
    duplicate = "near-duplicate, " if one.near_duplicate else ""
    st.markdown(f"**{literal(title)}**")
    st.caption(literal(f"{name}, {one.source or 'source unknown'}, {duplicate}{distance}"))


# A parameter whose name begins with an underscore is not part of the key.


@st.cache_resource(
    max_entries=2, show_spinner="Loading training embeddings…", hash_funcs=HASH_FUNCS
)
def _features(model_id: str, weights_sha256: str, dataset: Dataset) -> TrainingFeatures:
    return features_of(load(model_id, weights_sha256), dataset)


@st.cache_resource(max_entries=128, show_spinner=False, hash_funcs=HASH_FUNCS)
def _similar_to_case(
    model_id: str, weights_sha256: str, dataset: Dataset, case_sha256: str, _case: Case
) -> tuple[SimilarCase, ...]:
    model = load(model_id, weights_sha256)
    return similar_cases(model, _features(model_id, weights_sha256, dataset), _case.image)


@st.cache_resource(max_entries=128, show_spinner=False, hash_funcs=HASH_FUNCS)
def _similar_to_file(
    model_id: str, weights_sha256: str, dataset: Dataset, file: str
) -> tuple[SimilarCase, ...]:
    model = load(model_id, weights_sha256)
    return similar_cases(model, _features(model_id, weights_sha256, dataset), file)
