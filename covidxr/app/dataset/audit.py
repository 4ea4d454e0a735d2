"""Audit section of the Dataset page: quality issues, exclusions, shortcut features and maps."""

from __future__ import annotations

import hashlib

import numpy as np
import streamlit as st

from covidxr.app.cache import HASH_FUNCS
from covidxr.app.frame import literal
from covidxr.app.splits import current_plan
from covidxr.app.widgets import chart, ink, progress
from covidxr.config import cache_folder
from covidxr.datasets.audit.dataset_audit import Audit, audit_dataset, project_audit
from covidxr.datasets.audit.findings import ADVISED, Projection, exclusions, findings_csv
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.exclusions import exclusions_csv, write_exclusions
from covidxr.datasets.splits import SplitData
from covidxr.figures import similarity_figure
from covidxr.formatting import count
from covidxr.images.quality import Numbers
from covidxr.records import GrayImage, SplitPlan, display_name

_MOST_KEPT = 2
_FEATURE_TITLES = {
    "black": "Black pixels",
    "white": "White pixels",
    "borders": "Border brightness",
    "aspect_ratio": "Aspect ratio",
    "size": "Number of pixels",
    "file_size": "File size",
    "writing": "Burned-in text",
    "format": "File format",
    "colours": "Color mode",
}


@st.cache_resource(show_spinner=False)
def _audits() -> dict[tuple[str, str, SplitPlan], Audit]:
    """Return the audits computed so far, newest last.

    Not a cached function each: that could not draw a progress bar.
    """
    return {}


def known_audit(dataset: Dataset) -> Audit | None:
    """Return the audit of a dataset under the current split, if it was computed already."""
    return _audits().get((str(dataset.path), dataset.state, current_plan()))


def audit_section(data: SplitData) -> None:
    """Show the quality issues of a dataset, let the user exclude images, and show shortcuts."""
    audit = _audit(data.dataset)
    issues = [finding for finding in audit.findings if finding.groups]
    st.subheader("Data quality issues", anchor=False)
    if not issues:
        st.success("No issues found.", icon=":material/check:")
    for finding in issues:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.markdown(
            f"**{literal(finding.title)}** ({len(finding.files):,}): {literal(finding.sentence)}"
        )
        right.button(
            "View images",
            key=f"view {finding.check}",
            on_click=_view,
            args=(finding.title,),
            icon=":material/visibility:",
        )
    absent = [finding.title for finding in audit.findings if not finding.groups]
    if absent:
        st.caption(f"Not found: {literal(', '.join(absent))}.")
    if audit.not_divided:
        st.caption(f"Leakage not checked: {literal(audit.not_divided)}.")
    if issues:
        _exclude(data, audit)
    _shortcut_features(audit)
    _class_means(audit)
    _similarity_map(data, audit)


def _audit(dataset: Dataset) -> Audit:
    """Return the audit of a dataset under the current split, the first time with a progress bar."""
    if (known := known_audit(dataset)) is not None:
        return known
    with progress("Auditing images (first use only)") as watch:
        audit = audit_dataset(dataset, current_plan(), skip_unreadable=True, watch=watch)
    audits = _audits()
    audits[str(dataset.path), dataset.state, current_plan()] = audit
    while len(audits) > _MOST_KEPT:
        audits.pop(next(iter(audits)))
    return audit


def _view(title: str) -> None:
    """Show the images of an issue in the gallery."""
    st.session_state.update(
        {"browse quality issue": title, "dataset part": "Browse", "opened": None}
    )


def _exclude(data: SplitData, audit: Audit) -> None:
    """Turn issues into an exclusion list, for training and for download."""
    by_title = {finding.title: finding for finding in audit.findings if finding.groups}
    advised = [title for title, finding in by_title.items() if finding.check in ADVISED]
    st.subheader("Exclude images", anchor=False)
    chosen = st.multiselect(
        "Issues to exclude",
        list(by_title),
        advised,
        help="One image of each duplicate set is kept. Review the images before excluding them.",
    )
    excluded = exclusions([by_title[title] for title in chosen])
    st.caption(f"{len(excluded):,} of {count(len(data.dataset.samples))} will be excluded.")
    with st.container(horizontal=True):
        if excluded and st.button("Train with exclusions", icon=":material/model_training:"):
            digest = hashlib.sha256(exclusions_csv(excluded).encode()).hexdigest()[:12]
            path = cache_folder() / "exclusions" / f"{data.dataset.fingerprint}-{digest}.csv"
            write_exclusions(path, excluded)
            st.session_state.update({"exclusions": str(path), "next part": "New run"})
            st.switch_page("pages/train.py")
        for label, name, content in (
            ("Exclusion list (CSV)", "exclusions.csv", lambda: exclusions_csv(excluded)),
            (
                "All issues (CSV)",
                "findings.csv",
                lambda: findings_csv(audit.findings, data.dataset, data.split),
            ),
        ):
            st.download_button(label, content, name, on_click="ignore", icon=":material/download:")


def _shortcut_features(audit: Audit) -> None:
    """Show how well each feature that is not anatomical separates a class from the rest."""
    st.subheader("Shortcut features (non-anatomical)", anchor=False)
    st.markdown(
        "None of these features describes the lungs. The better one of them alone separates a "
        "class from the rest, the easier a model can exploit it as a shortcut."
    )
    rows = audit.spurious
    st.dataframe(
        {
            "Feature": [
                _FEATURE_TITLES.get(row.property, row.property.capitalize()) for row in rows
            ],
            "AUROC": [row.auroc for row in rows],
            "Interpretation": [row.sentence for row in rows],
        },
        hide_index=True,
        column_config={
            "AUROC": st.column_config.ProgressColumn(
                format="%.3f",
                min_value=0.5,
                max_value=1,
                width="small",
                help="0.5 = chance, 1 = perfect separation.",
            ),
            "Interpretation": st.column_config.TextColumn(width="large"),
        },
        height="content",
        alt="AUROC of each feature alone, the highest first",
    )
    st.caption(
        "AUROC of the single feature for the class that it separates best, one class vs. rest."
    )


def _class_means(audit: Audit) -> None:
    st.subheader("Mean image and standard deviation per class", anchor=False)
    largest = max(float(one.std.max()) for one in audit.means)
    with st.grid(min_column_width=150):
        for one in audit.means:
            title = display_name(one.class_name)
            st.image(
                _gray(one.mean, 255),
                caption=f"{title}: mean of {one.n:,}",
                width="stretch",
                alt=f"Mean image of {title}",
            )
    with st.grid(min_column_width=150):
        for one in audit.means:
            title = display_name(one.class_name)
            st.image(
                _gray(one.std, largest),
                caption=f"{title}: SD",
                width="stretch",
                alt=f"Standard deviation of {title}",
            )
    st.caption("SD: standard deviation of each pixel, on the same scale for all classes.")


def _gray(values: Numbers, white: float) -> GrayImage:
    return np.asarray((values / max(white, 1e-9) * 255).round().clip(0, 255), dtype=np.uint8)


@st.cache_resource(
    max_entries=2,
    show_spinner="Computing the similarity map: about 10 s…",
    hash_funcs=HASH_FUNCS,
)
def _projection(audit: Audit) -> Projection:
    return project_audit(audit)


def _similarity_map(data: SplitData, audit: Audit) -> None:
    """Show a sample of the images as points, similar images close, by class and by source."""
    st.subheader("Similarity map (t-SNE)", anchor=False)
    if not st.toggle("Compute (about 10 s)", key=f"map {data.dataset.fingerprint}"):
        return
    projection = _projection(audit)
    samples = [data.dataset.samples[row] for row in projection.rows]
    classes = [data.dataset.class_names[sample.label] for sample in samples]
    sources = [sample.source or "unknown" for sample in samples]
    for place, title, names in zip(
        st.columns(2, gap="large"), ("By class", "By source"), (classes, sources), strict=True
    ):
        with place:
            st.markdown(f"**{title}**")
            st.plotly_chart(
                similarity_figure(projection.points, names, ink()),
                config=chart(title),
                alt=f"Similarity map (t-SNE), {title.lower()}",
            )
    st.caption(
        f"t-SNE of the principal components of {count(len(samples))}. Similar images are close; "
        "distances between clusters mean little. Where both colorings separate the same way, class "
        "and source are confounded."
    )
