"""The Train page."""

import streamlit as st

from covidxr.app.frame import page
from covidxr.app.train.new_run import new_run
from covidxr.app.train.run import run_section
from covidxr.app.train.runs import choose_run, runs_section, snapshots

PURPOSE = (
    "Train a model and follow its progress. Runs continue when you close the page or stop the "
    "server."
)

with page("pages/train.py", "Train", PURPOSE):
    runs = snapshots()
    if "part" not in st.session_state or "next part" in st.session_state:
        default = "Runs" if any(run.alive for run in runs) else "New run"
        st.session_state["part"] = st.session_state.pop("next part", default)
    part = st.segmented_control(
        "Part", ["New run", "Runs"], required=True, key="part", label_visibility="collapsed"
    )
    if part == "New run":
        new_run()
    elif runs:
        run_section(choose_run(runs))
        runs_section(runs)
    else:
        st.info("No runs yet. Start one under **New run**.", icon=":material/info:")
