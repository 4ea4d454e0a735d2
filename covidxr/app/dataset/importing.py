"""Import section of the Dataset page: labels mapped to classes, and external validation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from covidxr.app.frame import literal
from covidxr.app.widgets import stored_models
from covidxr.config import weights_folder
from covidxr.datasets.custom import (
    ImportPlan,
    find_labels,
    list_imports,
    open_import,
    suggest_labels,
    write_import,
)
from covidxr.datasets.opening import open_dataset
from covidxr.errors import CovidxrError
from covidxr.evaluation.external import evaluate_external
from covidxr.figures import fit_screen
from covidxr.formatting import count, percent
from covidxr.images.reading import read_image
from covidxr.models.store import model_folder
from covidxr.prediction.loading import load_classifier
from covidxr.records import CLASS_NAMES, Interval, display_name

_EXCLUDE = "Exclude"
_PREVIEWED = 8


def import_section() -> None:
    """Let the user import a dataset and evaluate models on it."""
    st.markdown(
        "A folder or zip with one folder per label, or a CSV table `file,label` (optional: "
        "`patient_id,source,split`). PNG, JPEG, TIFF or DICOM. Images are referenced, not copied."
    )
    left, right = st.columns([3, 2])
    typed = left.text_input(
        "Folder, zip or CSV table",
        key="import path",
        placeholder="/data/my-hospital",
        help="Path on the server.",
    ).strip()
    if not typed:
        _external_validation()
        return
    root = Path(typed).expanduser().resolve()
    found = find_labels(root)
    name = right.text_input("Name", root.stem, key=f"import name {root}")
    labels = _map_labels(found)
    if not labels:
        st.info("Map at least one label to a class.", icon=":material/label:")
        return
    chosen = ImportPlan(name, str(root), labels)
    _preview(chosen)
    if st.button("Import", type="primary", icon=":material/add_circle:"):
        write_import(chosen)
        st.session_state["imported"] = name
        st.toast(f"{literal(name)} imported.")
    _external_validation()


def _map_labels(found: dict[str, int]) -> dict[str, str]:
    """Let the user map labels to classes; return {source label: class}."""
    suggested = suggest_labels(found)
    titles = {_EXCLUDE: _EXCLUDE} | {name: display_name(name) for name in CLASS_NAMES}
    by_title = {title: name for name, title in titles.items()}
    rows = [(label, n, titles[suggested.get(label, _EXCLUDE)]) for label, n in found.items()]
    edited = st.data_editor(
        pd.DataFrame(rows, columns=["Source label", "Images", "Class"]),
        column_config={
            "Class": st.column_config.SelectboxColumn(options=list(by_title), required=True)
        },
        disabled=["Source label", "Images"],
        hide_index=True,
        key=f"labels {sorted(found)}",
    )
    chosen = zip(found, edited["Class"].tolist(), strict=True)
    return {label: by_title[title] for label, title in chosen if title != _EXCLUDE}


def _preview(chosen: ImportPlan) -> None:
    dataset = open_import(chosen)
    counts = ", ".join(f"{display_name(name)} {n:,}" for name, n in dataset.class_counts().items())
    st.caption(f"{count(len(dataset.samples))}: {counts}. Excluded: {dataset.left_out:,}.")
    step = -(-len(dataset.samples) // _PREVIEWED)
    with st.grid(min_column_width=110), dataset.files() as files:
        for sample in dataset.samples[::step]:
            title = display_name(dataset.class_names[sample.label])
            try:
                image = fit_screen(read_image(files.read(sample.file), sample.file), 256)
                st.image(image, caption=title, width="stretch", alt=f"{sample.file}: {title}")
            except CovidxrError as error:
                st.caption(literal(str(error)))


def _external_validation() -> None:
    """Let the user evaluate a model on an imported dataset."""
    names = list_imports()
    if not names:
        return
    st.subheader("External validation", anchor=False)
    models = [entry.model_id for entry in stored_models() if entry.card]
    one, two, three = st.columns([2, 2, 1], vertical_alignment="bottom")
    last = st.session_state.get("imported")
    name = one.selectbox("Imported dataset", names, names.index(last) if last in names else 0)
    model_id = two.selectbox("Model", models)
    if model_id and three.button("Evaluate", icon=":material/grading:", width="stretch"):
        with st.spinner("Evaluating (about 100 images/s)…", show_time=True):
            results = evaluate_external(
                load_classifier(model_id),
                open_dataset(name),
                model_folder(weights_folder(), model_id),
                name,
            )
        accuracy = percent(Interval(**results["accuracy"]), results["n"])
        st.success(
            f"{literal(model_id)} on {literal(name)}: accuracy {accuracy}",
            icon=":material/check:",
        )
    st.caption(
        "Results appear on Evaluate and Compare: choose the external test set in the sidebar."
    )
