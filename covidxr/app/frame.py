"""Frame of every page: router guard, heading, and errors shown as sentences."""

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
# URLs become links even when escaped; an invisible word joiner keeps them text.
_ADDRESSES = (("://", ":\u2060//"), ("www.", "www\u2060."), ("@", "@\u2060"))


@contextmanager
def page(path: str, title: str, purpose: str) -> Iterator[None]:
    """Show a page's title, purpose and research-only line, and its errors as sentences.

    Args:
        path: Of the page's file, as in the router's table.
        title: Heading of the page.
        purpose: One sentence below it.
    """
    if not st.session_state.get("routed"):
        # Streamlit runs a page without the router when it is the first request to a new server.
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
    """Show an error: what is wrong and how to fix it."""
    first = sentence.partition(" ")[0]
    # A name of a setting or a model, such as `batch_size` or `poster-cnn`, keeps its case.
    text = sentence[:1].upper() + sentence[1:] if first.isalpha() else sentence
    st.error(literal(text), icon=":material/error:")


def literal(text: str) -> str:
    """Escape a text for Markdown, such as the name of a file or model, or an error quoting one."""
    for mark, broken in _ADDRESSES:
        text = text.replace(mark, broken)
    return text.translate(_ESCAPED)
