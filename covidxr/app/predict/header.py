"""Header elements of an image file that are not used."""

from __future__ import annotations

import streamlit as st

from covidxr.app.cache import Case
from covidxr.app.frame import literal

_IDENTIFYING = ("Patient", "Person", "Place", "Identifier", "Date or time")


def unused_elements(case: Case) -> None:
    """List a file's unused header elements by category, the identifying ones first."""
    categories: dict[str, list[str]] = {}
    for element in case.radiograph.dropped:
        categories.setdefault(element.kind, []).append(element.name)
    if not categories:
        return
    first = [name for name in _IDENTIFYING if name in categories]
    names = [*first, *sorted(categories.keys() - set(first))]
    with st.expander("Header elements not used", icon=":material/person_off:"):
        st.markdown(
            "The prediction uses the pixels alone. Some elements, such as the view position, are "
            "checked for warnings and for the input check. No value is shown or exported, except "
            "where a warning cites it."
        )
        st.table(
            {
                "Category": names,
                "Elements": [literal(", ".join(categories[name])) for name in names],
            },
            border="horizontal",
        )
