"""Sections of Compare, one aspect of the models each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from covidxr.app import numbers
from covidxr.app.compare.selection import choose_pair
from covidxr.app.compare.single_case import single_case
from covidxr.app.curves import choose_class, draw_curves
from covidxr.app.frame import literal
from covidxr.app.viewer import gallery
from covidxr.app.widgets import chart, ink
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.figures import (
    MODEL_COLORS,
    Measure,
    confusion_grid,
    difference_figure,
    learning_figure,
)


def matrices(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Show the confusion matrices on one scale, and the difference of two."""
    tables = {card.model_id: numbers.evaluation(card).figures.confusion_matrix for card in cards}
    names = cards[0].class_names
    st.plotly_chart(
        confusion_grid(tables, names, ink()),
        config=chart("confusion-matrices"),
        key="grid",
        alt="Confusion matrices, percent of the true class",
    )
    left, right = st.columns([2, 3], gap="medium")
    with left:
        a, b = choose_pair(cards, "difference")
        st.caption("Orange: predicted more often by the second model; blue: less often.")
    figure = difference_figure(
        tables[a.model_id], tables[b.model_id], a.model_id, b.model_id, names, ink()
    )
    right.plotly_chart(
        figure,
        config=chart("difference"),
        key="difference matrix",
        alt=f"{b.model_id} minus {a.model_id}, percentage points of the true class",
    )


def curves(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Show the models' ROC and precision-recall curves of one class."""
    k = choose_class(cards[0], "curves class")
    draw_curves(
        [(card.model_id, card, k, color) for card, color in zip(cards, MODEL_COLORS, strict=False)]
    )


def learning(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Show the models' learning curves."""
    histories = {card.model_id: card.learning_curve for card in cards}
    if not any(histories.values()):
        st.info("No learning curves are stored with these models.")
        return
    measures: tuple[Measure, Measure] = ("accuracy", "macro_f1")
    for place, measure in zip(st.columns(2, gap="medium"), measures, strict=True):
        place.plotly_chart(
            learning_figure(histories, measure, ink()),
            config=chart(f"learning-{measure}"),
            key=f"all {measure}",
            alt=f"Validation {measure.replace('_', '-')} by epoch",
        )


def disagreements(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Show the test images that one or both of two models misclassify."""
    left, right = st.columns([1, 2], gap="medium")
    with left:
        a, b = choose_pair(cards, "part")
    part, other = numbers.test_predictions(a), numbers.test_predictions(b)
    rows = numbers.rows(b)
    order = np.array([rows[sample] for sample in part.samples])
    y_true = part.y_true
    correct_a, correct_b = part.y_pred == y_true, other.y_pred[order] == y_true
    gap = np.abs(part.y_score[np.arange(len(y_true)), y_true] - other.y_score[order, y_true])
    titles = {
        (True, False): f"{a.model_id} correct, {b.model_id} incorrect",
        (False, True): f"{b.model_id} correct, {a.model_id} incorrect",
        (False, False): "Both incorrect",
    }
    found = {
        outcome: np.flatnonzero((correct_a == outcome[0]) & (correct_b == outcome[1]))
        for outcome in titles
    }
    with right:
        outcome = st.radio(
            "Images",
            list(titles),
            format_func=lambda key: f"{literal(titles[key])} ({len(found[key]):,})",
            key="outcome",
        )
    chosen = found[outcome]
    widest_first = chosen[np.argsort(-gap[chosen], kind="stable")]
    samples = [part.samples[i] for i in widest_first]
    gallery([a, b], samples, dataset, f"{a.model_id} {b.model_id} {outcome}")


SECTIONS: dict[str, Callable[[Sequence[ModelCard], Dataset | None], None]] = {
    "Confusion matrices": matrices,
    "Curves": curves,
    "Training": learning,
    "Disagreements": disagreements,
    "Single case, all models": single_case,
}
