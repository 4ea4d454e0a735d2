"""The choice of a class, and ROC and precision-recall curves side by side."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from covidxr.app import numbers
from covidxr.app.widgets import chart, ink
from covidxr.cards import ModelCard
from covidxr.figures import Curve, precision_recall_figure, roc_figure
from covidxr.formatting import decimal
from covidxr.records import display_name


def choose_class(card: ModelCard, key: str) -> int:
    """Let the user choose a class, at first the second one; return its index."""
    names = list(card.class_names)
    return names.index(
        st.selectbox(
            "Class", names, min(1, len(names) - 1), display_name, key=key, persist_state="session"
        )
    )


def draw_curves(entries: Sequence[tuple[str, ModelCard, int, str]]) -> None:
    """Draw ROC and precision-recall curves, where they are defined.

    Args:
        entries: (name, model, class index, color) of each curve.
    """
    left, right = st.columns(2, gap="medium")
    for place, points, draw, label in (
        (left, numbers.roc, roc_figure, "AUROC"),
        (right, numbers.precision_recall, precision_recall_figure, "AUPRC"),
    ):
        lines = []
        for name, card, k, color in entries:
            metrics = numbers.evaluation(card).figures.per_class[card.class_names[k]]
            area = metrics.auroc if label == "AUROC" else metrics.auprc
            if area:
                lines.append(Curve(name, *points(card, k), color, f"{label} {decimal(area)}"))
        areas = "; ".join(f"{display_name(line.name)} {line.label}" for line in lines)
        place.plotly_chart(
            draw(lines, ink()),
            config=chart(label),
            key=label,
            alt=f"Curves over all thresholds: {areas}",
        )
