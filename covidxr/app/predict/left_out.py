"""What of a file was not read, for whoever must answer for it."""

from __future__ import annotations

import streamlit as st

from covidxr.app.cache import Case
from covidxr.app.frame import literal


def left_out(case: Case) -> None:
    """List, by kind, the elements of a file that were left behind with its header; nothing where there are none."""
    if not case.dropped:
        return
    by_kind: dict[str, list[str]] = {}
    for one in case.dropped:
        by_kind.setdefault(one.kind, []).append(one.name)
    first = [
        kind
        for kind in ("Patient", "Person", "Place", "Identifier", "Date or time")
        if kind in by_kind
    ]
    kinds = [*first, *sorted(by_kind.keys() - set(first))]
    with st.expander("What was left out of the file", icon=":material/person_off:"):
        st.markdown(
            "Only the pixels and how they are to be shown are read. What else the file holds is listed here by name; but for "
            "what a warning says of it, nothing reads its values, no download has them, and they leave the server's memory with "
            "the file."
        )
        st.table(
            {
                "What it tells": kinds,
                "Elements": [literal(", ".join(by_kind[kind])) for kind in kinds],
            },
            border="horizontal",
        )
