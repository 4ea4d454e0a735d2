"""What is in a dataset, how it is divided, and what is wrong with it."""

import streamlit as st

from covidxr.app.dataset.audits import audit_section, formats_table, known_audit
from covidxr.app.dataset.browse import browse
from covidxr.app.dataset.datasets import (
    choose_data,
    divided,
    overview,
    plan,
    prepare,
    split_section,
)
from covidxr.app.dataset.imports import import_section
from covidxr.app.frame import page

PURPOSE = "See what a dataset is made of, browse its pictures, divide it, and find what is wrong with it before a model learns it."
PARTS = ["Overview", "Browse", "Split", "Audit", "Bring your own"]

with page("pages/dataset.py", "Dataset", PURPOSE):
    st.session_state.setdefault("dataset part", PARTS[0])
    part = st.segmented_control(
        "Part", PARTS, required=True, key="dataset part", label_visibility="collapsed"
    )
    if part == "Bring your own":
        import_section()
    else:
        dataset = choose_data()
        prepare(dataset)
        if part == "Split":
            split_section(dataset)
        else:
            data, audit = divided(dataset, plan()), known_audit(dataset)
            if part == "Overview":
                overview(data)
                formats_table(data.dataset)
            elif part == "Audit":
                audit_section(data)
            else:
                browse(
                    data,
                    {finding.title: finding.files for finding in audit.findings if finding.files}
                    if audit
                    else {},
                )
