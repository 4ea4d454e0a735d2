"""Start a run, watch it, and make it a model."""

import streamlit as st

from covidxr.app.frame import page
from covidxr.app.train.runs import all_runs, choose_run, one_run, snapshots
from covidxr.app.train.training import new_run

PURPOSE = "Start a training, watch it learn, and make it a model. It goes on when you close this page, or the server."

with page("pages/train.py", "Train", PURPOSE):
    runs = snapshots()
    if "part" not in st.session_state or "next part" in st.session_state:
        going_on = "Runs" if any(run.alive for run in runs) else "New run"
        st.session_state["part"] = st.session_state.pop("next part", going_on)
    part = st.segmented_control(
        "Part", ["New run", "Runs"], required=True, key="part", label_visibility="collapsed"
    )
    if part == "New run":
        new_run()
    elif runs:
        one_run(choose_run(runs))
        all_runs(runs)
    else:
        st.info(
            "No run yet. Choose **New run** to start one: the small CNN on phantoms takes seconds.",
            icon=":material/info:",
        )
