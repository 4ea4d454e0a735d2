"""One model: its confusion matrix to click through, and every figure with its interval."""

import streamlit as st

from covidxr.app import numbers
from covidxr.app.evaluate.sections import SECTIONS, metric
from covidxr.app.frame import literal, page
from covidxr.app.viewer import choose_dataset, gallery
from covidxr.app.widgets import chart, choose_model, choose_test_set, ink
from covidxr.cards import ModelCard
from covidxr.figures import confusion_figure
from covidxr.records import display_name

PURPOSE = "See how one model does on test pictures that it never saw, click through its errors, and read how far to trust it."
SHARES = {"counts": "Pictures", "row": "% of the truth", "column": "% of the calls"}
HEADLINES = {
    "accuracy": ("Accuracy", "Share of all test pictures that were called right."),
    "macro_f1": (
        "Macro-F1",
        "F1, the harmonic mean of sensitivity and PPV, averaged over the classes, however rare.",
    ),
    "balanced_accuracy": (
        "Balanced accuracy",
        "Sensitivity, averaged over the classes, however rare.",
    ),
    "kappa": (
        "Cohen's kappa",
        "Agreement with the truth beyond chance: 0 is chance, 1 is perfect.",
    ),
    "mcc": ("MCC", "Matthews correlation between truth and calls: 0 is chance, 1 is perfect."),
}


def headline(card: ModelCard) -> None:
    """Show the figures over all classes."""
    figures = numbers.evaluation(card).figures
    for place, (key, (title, explanation)) in zip(
        st.columns(len(HEADLINES)), HEADLINES.items(), strict=True
    ):
        metric(place, title, getattr(figures, key), explanation, share=key not in ("kappa", "mcc"))


def choose_cell(card: ModelCard) -> tuple[int, int] | None:
    """Show the confusion matrix; return the cell that the reader clicked, true class first."""
    figures = numbers.evaluation(card).figures
    share = st.segmented_control(
        "Show",
        list(SHARES),
        default="counts",
        format_func=SHARES.get,
        required=True,
        key="share",
        label_visibility="collapsed",
    )
    # Kept apart from the chart, which begins anew, without its selection, when the cell is outlined.
    model_id, cell = st.session_state.get("cell", (None, None))
    cell = cell if model_id == card.model_id else None
    right = sum(figures.confusion_matrix[k][k] for k in range(len(card.class_names)))
    st.plotly_chart(
        confusion_figure(figures.confusion_matrix, card.class_names, share, cell, ink=ink()),
        config=chart(f"{card.model_id}-confusion"),
        key="confusion",
        on_select=lambda: keep_cell(card),
        selection_mode="points",
        alt=f"Confusion matrix: {right:,} of {figures.n:,} pictures called right",
    )
    if cell is None:
        st.caption("Click a cell to see its pictures.")
    else:
        st.button(
            "Back to all errors",
            on_click=st.session_state.pop,
            args=("cell", None),
            type="tertiary",
            icon=":material/arrow_back:",
        )
    return cell


def keep_cell(card: ModelCard) -> None:
    """Remember the cell that was clicked."""
    points = st.session_state["confusion"].selection.points
    if points:
        st.session_state["cell"] = (card.model_id, tuple(points[0]["customdata"]))


def pictures(card: ModelCard, cell: tuple[int, int] | None) -> list[int]:
    """Say which test samples these are, a cell's or all errors, and return their rows, the worst first."""
    chosen = numbers.rows_of_cell(card, cell)
    if cell is None:
        st.subheader(f"All {len(chosen):,} errors, the worst first", anchor=False)
    else:
        true, called = (literal(display_name(card.class_names[k])) for k in cell)
        how = (
            "called right, the least sure first"
            if true == called
            else f"called {called}, the worst first"
        )
        st.subheader(
            f"{len(chosen):,} {'picture' if len(chosen) == 1 else 'pictures'} of {true} {how}",
            anchor=False,
        )
    return chosen


with page("pages/evaluate.py", "Evaluate", PURPOSE):
    card = choose_model()
    if card:
        (card,) = choose_test_set([card])
        dataset = choose_dataset(card)
        headline(card)
        left, right = st.columns([5, 7], gap="medium")
        with left:
            cell = choose_cell(card)
        with right:
            rows = pictures(card, cell)
            part = numbers.test_predictions(card)
            gallery([card], [part.samples[i] for i in rows], dataset, f"{card.model_id} {cell}")
        section = st.segmented_control(
            "Section",
            list(SECTIONS),
            default="By class",
            required=True,
            key="section",
            label_visibility="collapsed",
        )
        SECTIONS[section](card, dataset)
        with st.container(horizontal=True):
            for label, name, content in (
                ("All figures (JSON)", "figures.json", lambda: numbers.figures_json(card)),
                (
                    "These pictures (CSV)",
                    "pictures.csv",
                    lambda: numbers.predictions_csv(card, rows),
                ),
                (
                    "All predictions (CSV)",
                    "predictions.csv",
                    lambda: numbers.predictions_csv(card, range(len(part))),
                ),
            ):
                st.download_button(
                    label,
                    content,
                    f"{card.model_id}-{name}",
                    on_click="ignore",
                    icon=":material/download:",
                )
