"""Pictures of one's own: named, mapped to our classes, previewed, imported, and used to judge the models."""

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
from covidxr.formatting import percent
from covidxr.images.reading import read_image
from covidxr.models.store import model_folder
from covidxr.prediction.loading import load_classifier
from covidxr.records import CLASS_NAMES, Interval, display_name

_LEFT_OUT = "Leave out"
_PREVIEWED = 8


def import_section() -> None:
    """Let the reader import pictures of their own, and judge models on them."""
    st.markdown(
        "Any folder or zip with a folder for each label, or a CSV table `file,label` (and, if known, `patient_id,source,split`). "
        "PNG, JPEG, TIFF or DICOM. Nothing is copied: what is stored is where they lie and what their labels mean."
    )
    left, right = st.columns([3, 2])
    typed = left.text_input(
        "Folder, zip or CSV table", key="import path", placeholder="/data/my-hospital"
    ).strip()
    if not typed:
        _imported()
        return
    root = Path(typed).expanduser().resolve()
    found = find_labels(root)
    name = right.text_input("Call it", root.stem, key=f"import name {root}")
    labels = _map_labels(found)
    if not labels:
        st.info("Say of one label at least which class it stands for.", icon=":material/label:")
        return
    chosen = ImportPlan(name, str(root), labels)
    _preview(chosen)
    if st.button("Import", type="primary", icon=":material/add_circle:"):
        write_import(chosen)
        st.session_state["imported"] = name
        st.toast(f"{name} is imported.")
    _imported()


def _map_labels(found: dict[str, int]) -> dict[str, str]:
    """Let the reader say what each label stands for; return their label -> our class."""
    suggested = suggest_labels(found)
    titles = {_LEFT_OUT: _LEFT_OUT} | {name: display_name(name) for name in CLASS_NAMES}
    back = {title: name for name, title in titles.items()}
    rows = [(label, n, titles[suggested.get(label, _LEFT_OUT)]) for label, n in found.items()]
    edited = st.data_editor(
        pd.DataFrame(rows, columns=["Their label", "Pictures", "Our class"]),
        column_config={
            "Our class": st.column_config.SelectboxColumn(options=list(back), required=True)
        },
        disabled=["Their label", "Pictures"],
        hide_index=True,
        key=f"labels {sorted(found)}",
    )
    meant = zip(found, edited["Our class"].tolist(), strict=True)
    return {label: back[title] for label, title in meant if title != _LEFT_OUT}


def _preview(chosen: ImportPlan) -> None:
    dataset = open_import(chosen)
    counts = ", ".join(f"{display_name(name)} {n:,}" for name, n in dataset.class_counts().items())
    st.caption(f"{len(dataset.samples):,} pictures: {counts}. Left out: {dataset.left_out:,}.")
    step = max(1, len(dataset.samples) // _PREVIEWED)
    with st.grid(min_column_width=110), dataset.files() as files:
        for sample in dataset.samples[::step][:_PREVIEWED]:
            title = display_name(dataset.class_names[sample.label])
            try:
                image = fit_screen(read_image(files.read(sample.file), sample.file), 256)
                st.image(image, caption=title, width="stretch", alt=f"{sample.file}: {title}")
            except CovidxrError as error:
                st.caption(literal(str(error)))


def _imported() -> None:
    """List the imports and judge a model on one of them."""
    names = list_imports()
    if not names:
        return
    st.subheader("Judge a model on them", anchor=False)
    models = [entry.model_id for entry in stored_models() if entry.card]
    one, two, three = st.columns([2, 2, 1], vertical_alignment="bottom")
    last = st.session_state.get("imported")
    name = one.selectbox("Imported pictures", names, names.index(last) if last in names else 0)
    model_id = two.selectbox("Model", models)
    if model_id and three.button("Judge", icon=":material/grading:", width="stretch"):
        with st.spinner("Judging every picture: about a second for a hundred…", show_time=True):
            figures = evaluate_external(
                load_classifier(model_id),
                open_dataset(name),
                model_folder(weights_folder(), model_id),
                name,
            )
        accuracy = Interval(**figures["accuracy"])
        st.success(
            f"{literal(model_id)} on {literal(name)}: accuracy {percent(accuracy, figures['n'])}",
            icon=":material/check:",
        )
    st.caption(
        "The figures then stand on Evaluate and Compare, under “Judged on”, marked as external."
    )
