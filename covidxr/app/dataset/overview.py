"""Overview section of the Dataset page: classes, sources, splits and file formats."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from covidxr.app.cache import HASH_FUNCS
from covidxr.app.dataset.split import split_table
from covidxr.app.frame import literal
from covidxr.app.splits import SPLIT_TITLES, protocol_titles
from covidxr.app.viewer import opened_dataset
from covidxr.app.widgets import chart, ink, progress
from covidxr.config import variable
from covidxr.datasets.audit.facts import FileFormat, count_formats
from covidxr.datasets.dataset import PUBLISHED_COUNTS, Dataset
from covidxr.datasets.duplicates import THUMBNAIL
from covidxr.datasets.phantoms import default_dataset
from covidxr.datasets.pixels import cached_at, decode
from covidxr.datasets.splits import SplitData
from covidxr.figures import count_bars
from covidxr.formatting import count
from covidxr.records import display_name

GALLERY_EDGE = 128
"""Edge of gallery images in pixels: that of the baseline recipes, hence often decoded already."""
_STUDY_SPLITS = {"train": 14_815, "val": 3_175, "test": 3_175}
_FORMATS = 8
_MODES = {
    "L": "Grayscale",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
    "P": "Palette",
    "I;16": "16-bit grayscale",
}


def choose_data() -> Dataset:
    """Let the user choose a dataset in the sidebar, for all pages; phantoms by default.

    Raises:
        DatasetError: If the dataset cannot be opened.
    """
    named = st.sidebar.text_input(
        "Dataset folder, zip or name",
        variable("COVIDXR_DATASET"),
        key="dataset",
        persist_state="session",
        placeholder="Empty: synthetic phantoms",
        help="Path on the server to the downloaded database, or the name of an imported dataset.",
    ).strip()
    return opened_dataset(named or str(default_dataset()))


def prepare(dataset: Dataset) -> None:
    """Decode a dataset's images for the page, the first time with a progress bar."""
    for size in (THUMBNAIL, GALLERY_EDGE):
        if not cached_at(dataset, size).exists():
            with progress("Preparing images (first use only)") as watch:
                decode(dataset, size, skip_unreadable=True, watch=watch)


def overview(data: SplitData) -> None:
    """Show the size of a dataset, its classes, sources and splits, and its file formats."""
    _totals(data)
    left, right = st.columns(2, gap="large")
    with left:
        _classes(data.dataset)
    with right:
        _sources(data.dataset)
    left, right = st.columns(2, gap="large")
    with left:
        _splits(data)
    with right:
        _class_by_split(data)
    _unreadable(data.dataset)
    _formats(data.dataset)


def _totals(data: SplitData) -> None:
    samples = data.dataset.samples
    patients = {(sample.source, sample.patient_id) for sample in samples if sample.patient_id}
    totals = {
        "Images": (len(samples), None),
        "Patients (known)": (len(patients), "Images without a patient ID are not counted."),
        "Groups": (
            len(set(data.split.groups.tolist())),
            "Images of one patient, and near-duplicates, count as one group.",
        ),
        "Lung masks": (sum(sample.mask is not None for sample in samples), None),
        "Unreadable": (len(data.dataset.skipped), "Images that cannot be decoded."),
    }
    with st.container(horizontal=True, gap="medium"):
        for title, (number, explanation) in totals.items():
            st.metric(title, f"{number:,}", width="content", help=explanation)


def _classes(dataset: Dataset) -> None:
    st.subheader("Classes", anchor=False)
    counts = dataset.class_counts()
    both = {
        name: {"This dataset": counts[name], "Baseline study": PUBLISHED_COUNTS[name]}
        for name in counts
        if name in PUBLISHED_COUNTS
    }
    st.plotly_chart(
        count_bars(both, ink(), stacked=False),
        config=chart("classes"),
        alt="Images by class: "
        + ", ".join(f"{display_name(name)} {n:,}" for name, n in counts.items()),
    )
    st.caption("Baseline study: Figure 1, the whole database of 21,165 images.")


def _sources(dataset: Dataset) -> None:
    st.subheader("Sources", anchor=False)
    counts = dataset.sources()
    # Sorted, so that each source has the color that it has in the similarity map.
    names = sorted({source for row in counts.values() for source in row})
    rows = {name: {source: row.get(source, 0) for source in names} for name, row in counts.items()}
    st.plotly_chart(
        count_bars(rows, ink(), stacked=True),
        config=chart("sources"),
        alt="Images by class and source",
    )
    st.caption(literal(_source_sentence(dataset)))


def _splits(data: SplitData) -> None:
    st.subheader("Splits", anchor=False)
    counts = data.split.counts(data.dataset.class_names)
    sizes = {
        title: {
            "This dataset": sum(counts[name].values()),
            "Baseline study": _STUDY_SPLITS[name],
        }
        for name, title in SPLIT_TITLES.items()
    }
    st.plotly_chart(
        count_bars(sizes, ink(), stacked=False),
        config=chart("splits"),
        alt="Images by split: "
        + ", ".join(f"{title} {own['This dataset']:,}" for title, own in sizes.items()),
    )
    st.caption("Baseline study: Figure 2, a random 70/15/15 split of each class.")


def _class_by_split(data: SplitData) -> None:
    st.subheader("Class by split", anchor=False)
    split_table(data)
    plan = data.split.plan
    method = protocol_titles(data.dataset)[plan.protocol]
    st.caption(f"{method}, seed {plan.seed}, split hash {data.split.fingerprint}")
    st.markdown(
        f"**Location:** {literal(str(data.dataset.path))}  \n"
        f"**Dataset hash:** {data.dataset.fingerprint}"
    )


def _unreadable(dataset: Dataset) -> None:
    if not dataset.skipped:
        return
    with st.expander(count(len(dataset.skipped), "unreadable image"), icon=":material/block:"):
        files, reasons = zip(*dataset.skipped, strict=True)
        st.dataframe(
            {"Image": files, "Reason": reasons},
            hide_index=True,
            alt="Unreadable images with the reason",
        )


def _source_sentence(dataset: Dataset) -> str:
    """Say which classes are confounded with their source."""
    sources = {name: set(tally) for name, tally in dataset.sources().items() if tally}
    if all(known == {"unknown"} for known in sources.values()):
        return "No source information."
    alone = []
    for name, own in sources.items():
        others = set().union(*(other for key, other in sources.items() if key != name))
        if own.isdisjoint(others):
            alone.append(display_name(name))
    if not alone:
        return "Every class has a source in common with another class."
    subject, verb = " and ".join(alone), "shares" if len(alone) == 1 else "share"
    return f"{subject} {verb} no source with any other class: class and source are confounded."


@st.cache_resource(max_entries=4, show_spinner="Reading image headers…", hash_funcs=HASH_FUNCS)
def _format_counts(dataset: Dataset) -> Counter[FileFormat]:
    return count_formats(dataset)


def _formats(dataset: Dataset) -> None:
    """Show the sizes, formats and color modes of the files, with the number of images of each."""
    st.subheader("Image formats", anchor=False)
    counts = _format_counts(dataset)
    rows = [
        (f"{width} x {height}", name, _MODES.get(mode, mode), n)
        for (width, height, name, mode), n in counts.most_common(_FORMATS)
    ]
    columns = map(list, zip(*rows, strict=True))
    st.dataframe(
        dict(zip(("Size (px)", "Format", "Color mode", "Images"), columns, strict=True)),
        hide_index=True,
        column_config={"Images": st.column_config.NumberColumn(format="localized")},
        alt="Sizes, formats and color modes of the images",
    )
    if len(counts) > _FORMATS:
        st.caption(f"The {_FORMATS} most frequent of {len(counts):,} combinations.")
