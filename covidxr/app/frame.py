"""The frame of every page: its guard, its heading, and the one place where an error becomes a sentence on screen."""

from __future__ import annotations

import string
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from covidxr.errors import CovidxrError
from covidxr.records import RESEARCH_ONLY

_ESCAPED = str.maketrans(
    {mark: "\\" + mark for mark in string.punctuation} | {"\n": " ", "\r": " "}
)
# Addresses become links even when escaped; an invisible joiner, which is no part of an address, keeps them text.
_ADDRESSES = (("://", ":\u2060//"), ("www.", "www\u2060."), ("@", "@\u2060"))


@contextmanager
def page(path: str, title: str, purpose: str) -> Iterator[None]:
    """Frame one page: its title, what it is for in one sentence, the research-only line, and errors as sentences.

    path: the page's own file as the router's table names it, for the way back.
    """
    if not st.session_state.get("routed"):
        # Streamlit runs a page alone, under its own menu, when it is the first thing asked of a new server: go by the router.
        st.session_state["goto"] = path
        st.switch_page("streamlit_app.py")
    st.title(title, anchor=False)
    st.markdown(purpose)
    st.caption(RESEARCH_ONLY)
    try:
        yield
    except CovidxrError as error:
        show_error(str(error))


def show_error(sentence: str) -> None:
    """Show what went wrong and how to mend it."""
    a_name = "_" in sentence.split(" ", 1)[0]  # of a setting, which is spelt as it is
    st.error(
        literal(sentence if a_name else sentence[:1].upper() + sentence[1:]),
        icon=":material/error:",
    )


def literal(text: str) -> str:
    """Return Markdown that shows a text as it is: names of files and models, and errors that quote them, are not ours."""
    for mark, broken in _ADDRESSES:
        text = text.replace(mark, broken)
    return text.translate(_ESCAPED)
