"""Escaping of names and errors."""

import pytest

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
