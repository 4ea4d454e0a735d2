"""Notice that users accept once per session before they upload an image."""

from __future__ import annotations

import streamlit as st

from covidxr.config import logs_uses

_ACCEPTED = "notice accepted"


def accepted() -> bool:
    """Whether the user has accepted the notice in this session; otherwise show it."""
    if st.session_state.get(_ACCEPTED):
        return True
    with st.container(border=True):
        st.subheader("Before you upload", anchor=False)
        st.markdown(
            "- **For research and education only.** Not a medical device. "
            "Do not use for patient care.\n"
            "- **Do not upload identifiable images** to a server you do not control. "
            "Patient data in the file header are not used; burned-in text and file names are not "
            "removed.\n"
            "- **Images are held in memory only**, until newer ones replace them or the server "
            f"restarts, and never written to disk. {_logging()}"
        )
        st.button("I understand", type="primary", on_click=_accept)
    return False


def _logging() -> str:
    if not logs_uses():
        return "Usage is not logged."
    return "Each analysis is logged: time, file hash, model and result; no image, no file name."


def _accept() -> None:
    st.session_state[_ACCEPTED] = True
