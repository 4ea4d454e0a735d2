"""One dataset on screen: what is in it, how it is divided, and what a division is worth."""

from __future__ import annotations

import streamlit as st

from covidxr.app.frame import literal
from covidxr.app.viewer import opened_dataset
from covidxr.app.widgets import chart, ink
from covidxr.config import variable
from covidxr.datasets.dataset import PUBLISHED_COUNTS, Dataset
from covidxr.datasets.duplicates import THUMBNAIL
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.phantoms import default_dataset
from covidxr.datasets.pixels import cached_at, decode
from covidxr.datasets.splits import SplitData, leaked_samples, split_csv, split_data
from covidxr.evaluation.protocols import protocol_effect
from covidxr.figures import count_bars
from covidxr.formatting import percent
from covidxr.records import SPLITS, Protocol, SplitFractions, SplitPlan, display_name

PROTOCOLS: dict[Protocol, str] = {
    "grouped": "Patients and near-duplicates together",
    "stratified": "At random, as in the study",
}
BROWSED = 128
"""Edge in pixels of the pictures of the grid: that of the study's recipes, so that most often they are decoded already."""
SPLIT_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}
_STUDY_SPLITS = {"train": 14_815, "val": 3_175, "test": 3_175}


def choose_data() -> Dataset:
    """Let the reader name a dataset, in the sidebar and for all pages; phantoms stand in for none. Raises DatasetError."""
    named = st.sidebar.text_input(
        "Dataset folder, zip or name",
        variable("COVIDXR_DATASET"),
        key="dataset",
        persist_state="session",
        placeholder="Empty: synthetic phantoms",
        help="The database as downloaded, on the machine that runs this app, or the name of a dataset that you imported.",
    ).strip()
    return opened_dataset(named or str(default_dataset()))


def prepare(dataset: Dataset) -> None:
    """Decode a dataset's pictures for the page, once, with a progress bar."""
    missing = [size for size in (THUMBNAIL, BROWSED) if not cached_at(dataset, size).exists()]
    if not missing:
        return
    bar = st.progress(0.0, "Decoding the pictures, once…")

    def show(done: int, total: int) -> None:
        if done % 64 == 0 or done == total:
            bar.progress(done / total, f"Decoding the pictures, once: {done:,} of {total:,}")

    for size in missing:
        decode(dataset, size, skip_unreadable=True, watch=show)
    bar.empty()


def protocol_titles(dataset: Dataset) -> dict[Protocol, str]:
    """Return the protocols that a dataset can be divided by, as people call them."""
    own: dict[Protocol, str] = (
        {"given": "As the dataset's own table says"}
        if all(s.split for s in dataset.samples)
        else {}
    )
    return PROTOCOLS | own


def plan() -> SplitPlan:
    """Return the division that the reader chose, for all sections of the page and for training."""
    return st.session_state.get("plan", SplitPlan())  # type: ignore[no-any-return]


def divided(dataset: Dataset, how: SplitPlan) -> SplitData:
    """Return a dataset without its unreadable pictures, divided. Raises DatasetError."""
    return _divided(str(dataset.path), dataset.state, how)


@st.cache_resource(
    max_entries=8, show_spinner="Finding patients and near-duplicates: a few seconds, once…"
)
def _divided(path: str, state: str, how: SplitPlan) -> SplitData:
    return split_data(open_dataset(path), how, skip_unreadable=True)


def overview(data: SplitData) -> None:
    """Show who is in the dataset and where they come from."""
    dataset, split = data.dataset, data.split
    counts = split.counts(dataset.class_names)
    patients = len({(s.source, s.patient_id) for s in dataset.samples if s.patient_id})
    with st.container(horizontal=True, gap="large"):
        st.metric("Pictures", f"{len(dataset.samples):,}", width="content")
        st.metric(
            "Known patients",
            f"{patients:,}",
            width="content",
            help="Not every picture names its patient.",
        )
        groups = "Pictures tied by a patient or by being near-duplicates count once."
        st.metric("Groups", f"{len(set(split.groups.tolist())):,}", width="content", help=groups)
        with_mask = sum(sample.mask is not None for sample in dataset.samples)
        st.metric("With a lung mask", f"{with_mask:,}", width="content")
        st.metric(
            "Left out",
            f"{len(dataset.skipped):,}",
            width="content",
            help="Pictures that cannot be read.",
        )
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Classes", anchor=False)
        classes = dataset.class_counts()
        both = {
            name: {"Here": classes[name], "The study": PUBLISHED_COUNTS[name]}
            for name in classes
            if name in PUBLISHED_COUNTS
        }
        st.plotly_chart(
            count_bars(both, ink(), stacked=False),
            config=chart("classes"),
            alt=f"Pictures by class: {classes}",
        )
        st.caption(
            "The study's Figure 1 (the whole database, 21,165 pictures) beside this dataset."
        )
    with right:
        st.subheader("Sources", anchor=False)
        st.plotly_chart(
            count_bars(dataset.sources(), ink(), stacked=True),
            config=chart("sources"),
            alt="Pictures by class and source",
        )
        st.caption(literal(_source_sentence(dataset)))
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Splits", anchor=False)
        sizes = {
            title: {"Here": sum(counts[name].values()), "The study": _STUDY_SPLITS[name]}
            for name, title in SPLIT_TITLES.items()
        }
        st.plotly_chart(
            count_bars(sizes, ink(), stacked=False),
            config=chart("splits"),
            alt=f"Pictures by split: {sizes}",
        )
        st.caption(
            "The study's Figure 2 (70 / 15 / 15 of each class, at random) beside the division chosen under Split."
        )
    with right:
        st.subheader("Both", anchor=False)
        split_table(data)
        st.caption(
            f"{PROTOCOLS.get(split.plan.protocol, split.plan.protocol)}, seed {split.plan.seed}, split {split.fingerprint}"
        )
        st.markdown(
            f"**Where it lies:** {literal(str(dataset.path))}  \n**Fingerprint of the files:** {dataset.fingerprint}"
        )
    if dataset.skipped:
        with st.expander(
            f"{len(dataset.skipped):,} pictures left out, and why", icon=":material/block:"
        ):
            files, reasons = zip(*dataset.skipped, strict=True)
            st.dataframe(
                {"Picture": files, "Why": reasons},
                hide_index=True,
                alt="Pictures left out, with the reason",
            )


def split_table(data: SplitData) -> None:
    """Show the pictures of each class in each split."""
    counts = data.split.counts(data.dataset.class_names)
    names = data.dataset.class_names
    columns = {display_name(name): [counts[split][name] for split in SPLITS] for name in names}
    total = [sum(counts[split].values()) for split in SPLITS]
    st.dataframe(
        {"Split": list(SPLIT_TITLES.values()), **columns, "All": total},
        hide_index=True,
        alt="Pictures by split and class",
    )


def _source_sentence(dataset: Dataset) -> str:
    """Say in plain words how far a class can be told by its source alone."""
    sources = {name: set(tally) for name, tally in dataset.sources().items() if tally}
    if all(known == {"unknown"} for known in sources.values()):
        return "The dataset does not say where its pictures come from."
    alone = []
    for name, own in sources.items():
        others = set().union(*(other for key, other in sources.items() if key != name))
        if own.isdisjoint(others):
            alone.append(display_name(name))
    if not alone:
        return "Every class shares a source with another."
    names = " and ".join(alone)
    return f"{names}: no other class comes from the same place. A model can tell such a class by where a picture is from."


def split_section(dataset: Dataset) -> None:
    """Let the reader divide the dataset anew, see what that does, save it, and train on it."""
    left, right = st.columns([2, 3], gap="large")
    chosen = plan()
    with left:
        titles = protocol_titles(dataset)
        choices = list(titles)
        protocol = st.radio(
            "How",
            choices,
            choices.index(chosen.protocol) if chosen.protocol in choices else 0,
            titles.__getitem__,
        )
        seed = st.number_input(
            "Seed", value=chosen.seed, step=1, help="Another seed draws another split."
        )
        shares = chosen.fractions
        train = st.slider(
            "Training (%)", 10, 90, round(100 * shares.train), disabled=protocol == "given"
        )
        test = st.slider(
            "Test (%)",
            5,
            95 - train,
            min(round(100 * shares.test), 95 - train),
            disabled=protocol == "given",
        )
        val = 100 - train - test
        st.caption(f"Validation: the remaining {val} %")
        new = SplitPlan(protocol, seed, SplitFractions(train / 100, val / 100, test / 100))
        if new != chosen:
            st.session_state["plan"] = new
            st.rerun()
    with right:
        data = divided(dataset, new)
        split_table(data)
        st.caption(
            f"Fingerprint {data.split.fingerprint}: the same files in the same splits give the same on every machine."
        )
        with st.container(horizontal=True):
            names = dataset.class_names
            st.download_button(
                "Save as CSV",
                lambda: split_csv(data.split, names),
                "split.csv",
                on_click="ignore",
                icon=":material/download:",
            )
            if st.button("Train on it", icon=":material/model_training:"):
                st.session_state["next part"] = "New run"
                st.switch_page("pages/train.py")
    st.subheader("What a division is worth", anchor=False)
    _compare_protocols(dataset, new)


def _compare_protocols(dataset: Dataset, chosen: SplitPlan) -> None:
    """Set both protocols side by side: who stands on both sides, and what that does to a measured accuracy."""
    rows: list[dict[str, str]] = []
    for protocol, title in PROTOCOLS.items():
        data = divided(dataset, SplitPlan(protocol, chosen.seed, chosen.fractions))
        test = data.split.rows("test")
        leaked = leaked_samples(data.split)[test]
        rows.append(
            {
                "Division": title,
                "Test pictures": f"{len(test):,}",
                "with a twin or their patient in training": f"{int(leaked.sum()):,} ({100 * leaked.mean():.1f} %)",
            }
        )
    st.dataframe(
        {key: [row[key] for row in rows] for key in rows[0]},
        hide_index=True,
        alt="Leaks of both protocols",
    )
    effect = protocol_effect()
    if effect:
        st.markdown(literal(effect.sentence))
        figures = {"Grouped": effect.grouped, "At random": effect.stratified}
        figures |= {
            "At random: with a twin or patient in training": effect.leaked,
            "At random: without": effect.clean,
        }
        st.dataframe(
            {
                "Judged on": list(figures),
                "Accuracy": [percent(f.accuracy, f.n) for f in figures.values()],
            },
            hide_index=True,
            alt="Measured accuracy under both protocols",
        )
