"""What a reader must have read before a radiograph leaves their hands."""

from __future__ import annotations

import streamlit as st

from covidxr.config import logs_uses

_ACCEPTED = "notice accepted"


def accepted() -> bool:
    """Whether the reader has accepted the notice; until then, once a session, show it where radiographs would be dropped."""
    if st.session_state.get(_ACCEPTED):
        return True
    with st.container(border=True):
        st.subheader("Before you drop a radiograph", anchor=False)
        st.markdown(
            "- **Research and teaching only.** This is no medical device: let no decision on a patient rest on what it says.\n"
            "- **Drop nothing that tells whose picture it is** on a server that is not yours. The header of a file is left behind "
            "when it is read; a name in the picture or in the file's name is not.\n"
            "- **Pictures stay in the server's memory**, until newer ones take their place or it is restarted; none is written "
            f"to disk. {_what_is_logged()}"
        )
        st.button("I understand", type="primary", on_click=_accept)
    return False


def _what_is_logged() -> str:
    if not logs_uses():
        return "No log is kept of what is asked."
    return "A log on the server gets one line for each: time, hash of the file, model and verdict; no pixels, no name."


def _accept() -> None:
    st.session_state[_ACCEPTED] = True
