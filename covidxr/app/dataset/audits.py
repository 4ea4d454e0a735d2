"""What is wrong with a dataset: findings to look at, to export and to leave out, and what gives the classes away."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from covidxr.app.dataset.datasets import plan
from covidxr.app.frame import literal
from covidxr.app.widgets import chart, ink
from covidxr.config import cache_folder
from covidxr.datasets.audit.dataset_audit import Audit, audit_dataset, project_audit
from covidxr.datasets.audit.facts import Kind, count_kinds
from covidxr.datasets.audit.findings import ADVISED, Projection, exclusions, findings_csv
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.exclusions import exclusions_csv, write_exclusions
from covidxr.datasets.splits import SplitData
from covidxr.figures import map_figure
from covidxr.images.quality import Numbers
from covidxr.records import GreyImage, SplitPlan, display_name

_MOST_KEPT = 2
_FORMATS = 8
_MODES = {
    "L": "Grey",
    "RGB": "Colour",
    "RGBA": "Colour with transparency",
    "P": "Palette",
    "I;16": "Grey, 16 bits",
}
_BY_STATE: dict[str | type[Any], Callable[[Any], Any]] = {
    Dataset: lambda dataset: (str(dataset.path), dataset.state, len(dataset.samples))
}
_PROPERTY_TITLES = {
    "aspect_ratio": "Aspect ratio",
    "file_size": "File size",
    "size": "Size in pixels",
    "borders": "Brightness of the border",
}


@st.cache_resource(show_spinner=False)
def _kept() -> dict[tuple[str, str, SplitPlan], Audit]:
    """The audits worked out so far, newest last. Not a cached function: that could not draw a progress bar."""
    return {}


def known_audit(dataset: Dataset) -> Audit | None:
    """Return a dataset's audit under the division chosen, if it was worked out already."""
    return _kept().get((str(dataset.path), dataset.state, plan()))


def audited(dataset: Dataset) -> Audit:
    """Return a dataset's audit under the division chosen; the first time with a progress bar."""
    if (known := known_audit(dataset)) is not None:
        return known
    bar = st.progress(0.0, "Measuring every picture, once: about a minute for 20,000…")

    def show(done: int, total: int) -> None:
        if done % 64 == 0 or done == total:
            bar.progress(done / total, f"Measuring every picture, once: {done / total:.0%}")

    audit = audit_dataset(dataset, plan(), skip_unreadable=True, watch=show)
    bar.empty()
    kept = _kept()
    kept[str(dataset.path), dataset.state, plan()] = audit
    while len(kept) > _MOST_KEPT:
        kept.pop(next(iter(kept)))
    return audit


@st.cache_resource(
    max_entries=4,
    show_spinner="Reading the headers of the pictures: some seconds, once…",
    hash_funcs=_BY_STATE,
)
def _kinds(dataset: Dataset) -> Counter[Kind]:
    return count_kinds(dataset)


def formats_table(dataset: Dataset) -> None:
    """Show how the pictures are stored: their sizes, formats and colour modes, with the number of each."""
    st.subheader("How the pictures are stored", anchor=False)
    kinds = _kinds(dataset)
    rows = [
        (f"{w} x {h}", kind, _MODES.get(mode, mode), n)
        for (w, h, kind, mode), n in kinds.most_common(_FORMATS)
    ]
    st.dataframe(
        dict(
            zip(
                ("Pixels", "Format", "Colours", "Pictures"),
                map(list, zip(*rows, strict=True)),
                strict=True,
            )
        ),
        hide_index=True,
        alt="How the pictures are stored",
    )
    if len(kinds) > _FORMATS:
        st.caption(f"The {_FORMATS} most frequent of {len(kinds):,} kinds.")


def audit_section(data: SplitData) -> None:
    """Show the findings, and let the reader look at them, export them, and leave pictures out."""
    audit = audited(data.dataset)
    found = [finding for finding in audit.findings if finding.groups]
    st.subheader("Findings", anchor=False)
    if not found:
        st.success("Nothing was found.", icon=":material/check:")
    for finding in found:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.markdown(
            f"**{literal(finding.title)}** ({len(finding.files):,}): {literal(finding.sentence)}"
        )
        right.button(
            "Summary at them",
            key=f"look {finding.check}",
            on_click=_look_at,
            args=(finding.title,),
            icon=":material/visibility:",
        )
    clean = [finding.title for finding in audit.findings if not finding.groups]
    if clean:
        st.caption(f"Nothing found: {literal(', '.join(clean))}.")
    if audit.not_divided:
        st.caption(f"Leaks were not looked for: {literal(audit.not_divided)}.")
    if found:
        _leave_out(data, audit)
    _giveaways(audit)
    _averages(audit)
    _map(data, audit)


def _look_at(title: str) -> None:
    st.session_state.update({"browse finding": title, "dataset part": "Browse", "opened": None})


def _leave_out(data: SplitData, audit: Audit) -> None:
    """Turn findings into an exclusion list, for training and for other programs."""
    by_title = {finding.title: finding for finding in audit.findings if finding.groups}
    advised = [title for title, finding in by_title.items() if finding.check in ADVISED]
    st.subheader("Leave pictures out", anchor=False)
    chosen = st.multiselect(
        "Findings to be rid of",
        list(by_title),
        advised,
        help="Of duplicates the first is kept. Summary at the pictures before you decide.",
    )
    listed = exclusions([by_title[title] for title in chosen])
    st.caption(f"{len(listed):,} of {len(data.dataset.samples):,} pictures would be left out.")
    with st.container(horizontal=True):
        if listed and st.button("Train without them", icon=":material/model_training:"):
            digest = hashlib.sha256(exclusions_csv(listed).encode()).hexdigest()[:12]
            path = cache_folder() / "exclusions" / f"{data.dataset.fingerprint}-{digest}.csv"
            write_exclusions(path, listed)
            st.session_state.update({"exclusions": str(path), "next part": "New run"})
            st.switch_page("pages/train.py")
        for label, name, content in (
            ("Exclusion list (CSV)", "exclusions.csv", lambda: exclusions_csv(listed)),
            (
                "All findings (CSV)",
                "findings.csv",
                lambda: findings_csv(audit.findings, data.dataset, data.split),
            ),
        ):
            st.download_button(label, content, name, on_click="ignore", icon=":material/download:")


def _giveaways(audit: Audit) -> None:
    """Show how well a property that shows no disease tells the classes apart."""
    st.subheader("What gives the classes away", anchor=False)
    st.markdown(
        "Each property below knows nothing of the lungs. The better it tells a class from the rest by itself, the easier a model "
        "can be right for a wrong reason."
    )
    st.dataframe(
        {
            "Property": [
                _PROPERTY_TITLES.get(row.property, row.property.capitalize())
                for row in audit.spurious
            ],
            "AUROC": [100 * row.auroc for row in audit.spurious],
            "In words": [row.sentence.partition(":")[0] for row in audit.spurious],
        },
        hide_index=True,
        column_config={
            "AUROC": st.column_config.ProgressColumn(
                format="%.0f %%",
                min_value=50,
                max_value=100,
                width="small",
                help="50 % is a coin's, 100 % tells always.",
            ),
            "In words": st.column_config.TextColumn(width="large"),
        },
        height="content",
        alt="How well each property alone tells a class, the most telling first",
    )


def _averages(audit: Audit) -> None:
    st.caption(
        "AUROC: of one picture of the class and one other, how often the property alone picks the right one."
    )
    st.subheader("The average picture of each class", anchor=False)
    with st.grid(min_column_width=150):
        for picture in audit.pictures:
            title = display_name(picture.class_name)
            st.image(
                _grey(picture.mean, 255),
                caption=f"{title}, mean of {picture.n:,}",
                width="stretch",
                alt=f"Mean of {title}",
            )
    with st.grid(min_column_width=150):
        for picture in audit.pictures:
            title = display_name(picture.class_name)
            shown = _grey(picture.std, max(float(other.std.max()) for other in audit.pictures))
            st.image(
                shown,
                caption=f"{title}, spread",
                width="stretch",
                alt=f"Standard deviation of {title}",
            )
    st.caption(
        "Spread: the standard deviation at each place, on one scale; bright where the pictures of a class differ."
    )


@st.cache_resource(
    max_entries=2,
    show_spinner="Laying the pictures out: about ten seconds…",
    hash_funcs={Audit: lambda audit: (str(audit.dataset.path), audit.dataset.state)},
)
def _projected(audit: Audit) -> Projection:
    return project_audit(audit)


def _grey(values: Numbers, white: float) -> GreyImage:
    return np.asarray((values / max(white, 1e-9) * 255).round().clip(0, 255), dtype=np.uint8)


def _map(data: SplitData, audit: Audit) -> None:
    """Lay a sample of the pictures out by likeness, coloured by class and by source."""
    st.subheader("Pictures laid out by likeness", anchor=False)
    if not st.toggle("Work it out (about ten seconds)", key=f"map {data.dataset.fingerprint}"):
        return
    laid = _projected(audit)
    samples = [data.dataset.samples[row] for row in laid.rows]
    classes = [data.dataset.class_names[sample.label] for sample in samples]
    sources = [sample.source or "unknown" for sample in samples]
    for place, title, names in zip(
        st.columns(2, gap="large"), ("By class", "By source"), (classes, sources), strict=True
    ):
        with place:
            st.markdown(f"**{title}**")
            st.plotly_chart(
                map_figure(laid.points, names, ink()),
                config=chart(title),
                alt=f"Pictures laid out by likeness, {title}",
            )
    st.caption(
        f"{len(samples):,} pictures by t-SNE of their principal components: those that look alike lie close, and the distance "
        "between clusters means little. Where the colours of the two maps part alike, class and source are the same question."
    )
