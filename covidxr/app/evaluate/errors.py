"""Confusion matrix of one model, and the test images of a cell."""

from __future__ import annotations

import streamlit as st

from covidxr.app import numbers
from covidxr.app.frame import literal
from covidxr.app.widgets import chart, ink
from covidxr.cards import ModelCard
from covidxr.figures import Share, confusion_figure
from covidxr.formatting import count
from covidxr.records import display_name

Cell = tuple[int, int]
"""Indices of the true and of the predicted class."""

_SHARES: dict[Share, str] = {
    "counts": "Counts",
    "row": "% of true class",
    "column": "% of predicted class",
}


def choose_cell(card: ModelCard) -> Cell | None:
    """Show the confusion matrix; return the cell that the user clicked."""
    metrics = numbers.evaluation(card).figures
    share = st.segmented_control(
        "Show",
        list(_SHARES),
        default="counts",
        format_func=_SHARES.__getitem__,
        required=True,
        key="share",
        label_visibility="collapsed",
    )
    # Kept apart from the chart, which loses its selection when the cell is outlined.
    model_id, cell = st.session_state.get("cell", (None, None))
    cell = cell if model_id == card.model_id else None
    correct = sum(metrics.confusion_matrix[k][k] for k in range(len(card.class_names)))
    st.plotly_chart(
        confusion_figure(metrics.confusion_matrix, card.class_names, share, cell, ink=ink()),
        config=chart(f"{card.model_id}-confusion"),
        key="confusion",
        on_select=lambda: _keep_cell(card),
        selection_mode="points",
        alt=f"Confusion matrix: {correct:,} of {count(metrics.n)} classified correctly",
    )
    if cell is None:
        st.caption("Click a cell to show its images.")
    else:
        st.button(
            "Show all errors",
            on_click=st.session_state.pop,
            args=("cell", None),
            type="tertiary",
            icon=":material/arrow_back:",
        )
    return cell


def _keep_cell(card: ModelCard) -> None:
    points = st.session_state["confusion"].selection.points
    if points:
        st.session_state["cell"] = (card.model_id, tuple(points[0]["customdata"]))


def selected_images(card: ModelCard, cell: Cell | None) -> list[int]:
    """Show a title for the test images of a cell, or for all errors.

    Returns:
        Their rows, the lowest probability of the true class first.
    """
    rows = numbers.rows_of_cell(card, cell)
    if cell is None:
        st.subheader(count(len(rows), "error"), anchor=False)
    else:
        true, predicted = (literal(display_name(card.class_names[k])) for k in cell)
        result = "correctly classified" if true == predicted else f"predicted as {predicted}"
        st.subheader(f"{count(len(rows))} of {true} {result}", anchor=False)
    if len(rows) > 1:
        st.caption("Sorted by the probability of the true class, lowest first.")
    return rows
