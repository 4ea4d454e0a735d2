"""The Dataset page."""

import streamlit as st

from covidxr.app.dataset.audit import audit_section, known_audit
from covidxr.app.dataset.gallery import gallery
from covidxr.app.dataset.importing import import_section
from covidxr.app.dataset.overview import choose_data, overview, prepare
from covidxr.app.dataset.split import split_section
from covidxr.app.frame import page
from covidxr.app.splits import current_plan, split_dataset

PURPOSE = "Explore, split and quality-check a dataset before training."
PARTS = ["Overview", "Browse", "Split", "Audit", "Import data"]

with page("pages/dataset.py", "Dataset", PURPOSE):
    st.session_state.setdefault("dataset part", PARTS[0])
    part = st.segmented_control(
        "Part", PARTS, required=True, key="dataset part", label_visibility="collapsed"
    )
    if part == "Import data":
        import_section()
    else:
        dataset = choose_data()
        prepare(dataset)
        if part == "Split":
            split_section(dataset)
        else:
            data, audit = split_dataset(dataset, current_plan()), known_audit(dataset)
            if part == "Overview":
                overview(data)
            elif part == "Audit":
                audit_section(data)
            else:
                findings = audit.findings if audit else ()
                gallery(data, {one.title: one.files for one in findings if one.files})
