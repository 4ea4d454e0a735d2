"""Escaping of names and errors."""

import pytest
import streamlit as st

from covidxr.app import frame
from covidxr.app.frame import literal


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("[x](y) **b** <img>.png", r"\[x\]\(y\) \*\*b\*\* \<img\>\.png"),
        (":smile: `c` $x$ ~~s~~ # h", r"\:smile\: \`c\` \$x\$ \~\~s\~\~ \# h"),
        ("one\n\n- two", r"one  \- two"),
        ("http://a www.a a@b", "http\\:\u2060\\/\\/a www\u2060\\.a a\\@\u2060b"),
    ],
)
def test_a_text_is_escaped_mark_by_mark(text, markdown):
    assert literal(text) == markdown


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("cannot read a file", "Cannot read a file"),
        ("batch_size must be positive", r"batch\_size must be positive"),
        ("poster-cnn has no classes", r"poster\-cnn has no classes"),
    ],
)
def test_an_error_starts_with_a_capital_unless_it_starts_with_a_name(sentence, shown, monkeypatch):
    errors = []
    monkeypatch.setattr(st, "error", lambda text, icon: errors.append(text))
    frame.show_error(sentence)
    assert errors == [shown]
