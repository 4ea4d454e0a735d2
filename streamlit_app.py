"""Router: the table of pages."""

from pathlib import Path

import streamlit as st

PAGES = (
    ("pages/home.py", "Home", ":material/home:"),
    ("pages/dataset.py", "Dataset", ":material/dataset:"),
    ("pages/train.py", "Train", ":material/model_training:"),
    ("pages/evaluate.py", "Evaluate", ":material/grid_on:"),
    ("pages/compare.py", "Compare", ":material/compare:"),
    ("pages/predict.py", "Predict", ":material/radiology:"),
)

st.set_page_config(
    page_title="covidxr", page_icon=str(Path(__file__).parent / "docs/icon.png"), layout="wide"
)

pages = {
    path: st.Page(path, title=title, icon=icon, default=path == PAGES[0][0])
    for path, title, icon in PAGES
}
# A page requested first from a new server runs without the router; its guard in covidxr.app.frame
# misses this mark and redirects here.
st.session_state["routed"] = True
page = st.navigation(list(pages.values()))
goto = st.session_state.pop("goto", None)
if goto in pages:
    st.switch_page(pages[goto])
page.run()
