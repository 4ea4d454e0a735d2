"""Split section of the Dataset page: method, sizes, leakage and its measured effect."""

from __future__ import annotations

import streamlit as st

from covidxr.app.frame import literal
from covidxr.app.splits import (
    SPLIT_TITLES,
    current_plan,
    keep_plan,
    protocol_titles,
    split_dataset,
)
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import SplitData, leaked_samples, split_csv
from covidxr.evaluation.protocols import protocol_effect
from covidxr.formatting import percent
from covidxr.records import SPLITS, Protocol, SplitFractions, SplitPlan, display_name

_TEST_SETS: dict[Protocol, str] = {"grouped": "Grouped split", "stratified": "Random split"}


def split_section(dataset: Dataset) -> None:
    """Let the user split the dataset, download the split and train with it."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        plan = _choose_plan(dataset)
    with right:
        data = split_dataset(dataset, plan)
        split_table(data)
        st.caption(
            f"Split hash {data.split.fingerprint}: the same files in the same splits have the same "
            "hash on every machine."
        )
        with st.container(horizontal=True):
            names = dataset.class_names
            st.download_button(
                "Split (CSV)",
                lambda: split_csv(data.split, names),
                "split.csv",
                on_click="ignore",
                icon=":material/download:",
            )
            if st.button("Train with this split", icon=":material/model_training:"):
                st.session_state["next part"] = "New run"
                st.switch_page("pages/train.py")
    _leakage_table(dataset, plan)
    _protocol_effect()


def split_table(data: SplitData) -> None:
    """Show the number of images by class and split."""
    counts = data.split.counts(data.dataset.class_names)
    names = data.dataset.class_names
    columns = {display_name(name): [counts[split][name] for split in SPLITS] for name in names}
    total = [sum(counts[split].values()) for split in SPLITS]
    st.dataframe(
        {"Split": list(SPLIT_TITLES.values()), **columns, "Total": total},
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="localized") for name in (*columns, "Total")
        },
        alt="Images by split and class",
    )


def _choose_plan(dataset: Dataset) -> SplitPlan:
    plan, titles = current_plan(), protocol_titles(dataset)
    protocols = list(titles)
    protocol = st.radio(
        "Method",
        protocols,
        protocols.index(plan.protocol) if plan.protocol in protocols else 0,
        titles.__getitem__,
    )
    predefined = protocol == "given"
    seed = st.number_input("Seed", value=plan.seed, step=1, help="Random seed of the split.")
    shares = plan.fractions
    train = st.slider("Training (%)", 10, 90, round(100 * shares.train), disabled=predefined)
    largest = 95 - train
    test = st.slider(
        "Test (%)", 5, largest, min(round(100 * shares.test), largest), disabled=predefined
    )
    val = 100 - train - test
    st.caption(f"Validation: {val}%")
    new = SplitPlan(protocol, seed, SplitFractions(train / 100, val / 100, test / 100))
    if new != plan:
        keep_plan(new)
        st.rerun()
    return new


def _leakage_table(dataset: Dataset, plan: SplitPlan) -> None:
    """Show how many test images are leaked under each protocol."""
    st.subheader("Leakage by split method", anchor=False)
    sizes, leaks = [], []
    for protocol in _TEST_SETS:
        split = split_dataset(dataset, SplitPlan(protocol, plan.seed, plan.fractions)).split
        test = split.rows("test")
        leaked = leaked_samples(split)[test]
        sizes.append(f"{len(test):,}")
        leaks.append(f"{int(leaked.sum()):,} ({leaked.mean():.1%})")
    st.dataframe(
        {
            "Test set": list(_TEST_SETS.values()),
            "Leaked images": leaks,
            "Images": sizes,
        },
        hide_index=True,
        alt="Leaked test images by split method",
    )
    st.caption(
        "Leaked: a near-duplicate, or another image of the same patient, is in the training set."
    )


def _protocol_effect() -> None:
    """Show the accuracy of one recipe under both protocols, where it was measured."""
    effect = protocol_effect()
    if effect is None:
        return
    st.subheader("Effect of the split on measured accuracy", anchor=False)
    st.markdown(literal(effect.sentence))
    results = {
        _TEST_SETS["grouped"]: effect.grouped,
        _TEST_SETS["stratified"]: effect.stratified,
        "Random split, leaked": effect.leaked,
        "Random split, not leaked": effect.clean,
    }
    st.dataframe(
        {
            "Test set": list(results),
            "Accuracy": [
                percent(result.accuracy, result.n, brief=True) for result in results.values()
            ],
        },
        hide_index=True,
        alt="Measured accuracy under both split methods",
    )
    st.caption("95% CI in parentheses, n: test images.")
