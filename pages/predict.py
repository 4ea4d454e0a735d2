"""Drop radiographs, read what a model says of them and where it looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from covidxr.app.cache import Case, Picture, judge, phantom
from covidxr.app.frame import page, show_error
from covidxr.app.notice import accepted
from covidxr.app.predict.answer import answer
from covidxr.app.predict.worklist import forget_worklist, is_worklist, worklist
from covidxr.app.similar import similar_section
from covidxr.app.viewer import choose_dataset
from covidxr.app.widgets import SUFFIXES, choose_model
from covidxr.cards import ModelCard
from covidxr.records import CLASS_NAMES, display_name

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.uploaded_file_manager import UploadedFile

PURPOSE = "Drop a chest radiograph and read what a model finds likely, how sure it is, and where in the picture it looked."


def offer_phantoms() -> None:
    """Offer synthetic phantoms to a reader without a radiograph; another press shows another patient."""
    st.markdown("No radiograph at hand? Try a synthetic phantom, which is not a radiograph:")
    with st.container(horizontal=True):
        for name in CLASS_NAMES:
            if st.button(display_name(name), key=f"phantom {name}"):
                st.session_state["phantom"] = (
                    name,
                    st.session_state.get("phantom", ("", -1))[1] + 1,
                )


def choose(files: Sequence[UploadedFile], place: DeltaGenerator) -> Picture | None:
    """Return the one file that was dropped, or a phantom; offer those where there is no file."""
    forget_worklist()
    if files:
        return Picture.of(files[0].name, files[0].getvalue())
    with place:
        offer_phantoms()
    return phantom(*st.session_state["phantom"]) if "phantom" in st.session_state else None


def work(card: ModelCard) -> None:
    """Take files or a phantom, judge them, and show one."""
    left, right = st.columns([2, 3], gap="medium")
    files = left.file_uploader(
        "Radiographs (PNG, JPEG, TIFF or DICOM), or a zip of them",
        type=[*SUFFIXES, "zip"],
        accept_multiple_files=True,
        key="files",
        help="Up to 200 MB a file. Several files, or a zip, become a worklist.",
    )
    picture = worklist(card, files, right) if is_worklist(files) else choose(files, right)
    if picture is None:
        return
    with right, st.spinner("Reading…", show_time=True):
        case = judge(card, picture)
    if isinstance(case, Case):
        if answer(card, picture, case):
            similar_section(card, picture, choose_dataset(card))
    else:
        show_error(str(case))


with page("pages/predict.py", "Predict", PURPOSE):
    card = choose_model()
    if card and accepted():
        work(card)
