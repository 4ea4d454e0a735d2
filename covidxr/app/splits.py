"""The split chosen by the user, which all pages share."""

from __future__ import annotations

import streamlit as st

from covidxr.app.cache import HASH_FUNCS
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import SplitData, split_data
from covidxr.records import Protocol, SplitPlan

PROTOCOL_TITLES: dict[Protocol, str] = {
    "grouped": "Grouped (by patient and near-duplicate)",
    "stratified": "Random, stratified (as in the baseline study)",
}
SPLIT_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}


def protocol_titles(dataset: Dataset) -> dict[Protocol, str]:
    """Return the split protocols that a dataset supports, with their titles."""
    predefined = all(sample.split for sample in dataset.samples)
    return PROTOCOL_TITLES | ({"given": "Predefined split"} if predefined else {})


def current_plan() -> SplitPlan:
    """Return the split chosen in this session, or the default one."""
    return st.session_state.get("plan", SplitPlan())  # type: ignore[no-any-return]


def keep_plan(plan: SplitPlan) -> None:
    """Make a split the choice of this session."""
    st.session_state["plan"] = plan


@st.cache_resource(
    max_entries=8, show_spinner="Finding patients and near-duplicates…", hash_funcs=HASH_FUNCS
)
def split_dataset(dataset: Dataset, plan: SplitPlan) -> SplitData:
    """Return a dataset without its unreadable images, split by a plan.

    Raises:
        DatasetError: If the plan does not fit the dataset.
    """
    return split_data(dataset, plan, skip_unreadable=True)
