"""Predict: a model's prediction for uploaded images, its uncertainty and a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from covidxr.app.cache import Analysis, Case, analyze, phantom, read_case
from covidxr.app.frame import page, show_error
from covidxr.app.notice import accepted
from covidxr.app.predict.result import result
from covidxr.app.predict.worklist import forget_worklist, is_worklist, worklist
from covidxr.app.similar import similar_section
from covidxr.app.viewer import choose_dataset
from covidxr.app.widgets import SUFFIXES, choose_model
from covidxr.cards import ModelCard
from covidxr.records import CLASS_NAMES, display_name

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.uploaded_file_manager import UploadedFile

PURPOSE = "Upload a frontal chest X-ray to see the prediction, its uncertainty and a heat map."


def offer_phantoms() -> None:
    """Offer a synthetic phantom of each class; another press shows another patient."""
    st.markdown("No image at hand? Try a synthetic phantom (not a radiograph):")
    with st.container(horizontal=True):
        for name in CLASS_NAMES:
            if st.button(display_name(name), key=f"phantom {name}"):
                _, seed = st.session_state.get("phantom", ("", -1))
                st.session_state["phantom"] = (name, seed + 1)


def choose_case(files: Sequence[UploadedFile], place: DeltaGenerator) -> Case | None:
    """Return the uploaded image, or a phantom; offer phantoms where nothing was uploaded."""
    forget_worklist()
    if files:
        return read_case(files[0].name, files[0].getvalue())
    with place:
        offer_phantoms()
    return phantom(*st.session_state["phantom"]) if "phantom" in st.session_state else None


def work(card: ModelCard) -> None:
    """Take uploads or a phantom, analyze them, and show one."""
    left, right = st.columns([2, 3], gap="medium")
    files = left.file_uploader(
        "Chest X-rays (DICOM, PNG, JPEG, TIFF, or ZIP)",
        type=[*SUFFIXES, "zip"],
        accept_multiple_files=True,
        key="files",
        help="Up to 200 MB per file. Several files, or a ZIP, become a worklist.",
    )
    case = worklist(card, files, right) if is_worklist(files) else choose_case(files, right)
    if case is None:
        return
    with right, st.spinner("Analyzing…", show_time=True):
        analysis = analyze(card, case)
    if isinstance(analysis, Analysis):
        if result(card, case, analysis):
            similar_section(card, case, choose_dataset(card))
    else:
        show_error(str(analysis))


with page("pages/predict.py", "Predict", PURPOSE):
    card = choose_model()
    if card and accepted():
        work(card)
