"""What is in a dataset, how it is divided, and what is wrong with it."""

import streamlit as st

from covidxr.app.browse import browse
from covidxr.app.datasets import choose_data, divided, overview, plan, prepare, split_section
from covidxr.app.frame import page
from covidxr.app.imports import import_section

PURPOSE = "See what a dataset is made of, browse its pictures, divide it, and find what is wrong with it before a model learns it."
PARTS = ["Overview", "Browse", "Split", "Bring your own"]

with page("pages/dataset.py", "Dataset", PURPOSE):
    part = st.segmented_control("Part", PARTS, default=PARTS[0], required=True, key="dataset part", label_visibility="collapsed")
    if part == "Bring your own":
        import_section()
    else:
        dataset = choose_data()
        prepare(dataset)
        if part == "Split":
            split_section(dataset)
            st.stop()
        data = divided(dataset, plan())
        if part == "Overview":
            overview(data)
        else:
            browse(data, {})
