"""Sections of the Evaluate page, each on one aspect of one model."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from covidxr.app.curves import draw_curves
from covidxr.app.evaluate.heat_maps import heat_maps
from covidxr.app.evaluate.metrics import by_class, by_source
from covidxr.app.evaluate.thresholds import calibration, threshold
from covidxr.app.frame import literal
from covidxr.app.widgets import chart, ink
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.figures import CLASS_COLORS, OTHER_CLASS, Measure, learning_figure
from covidxr.reports.model_card import shortcut_sentences


def curves(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the ROC and precision-recall curves of every class."""
    draw_curves(
        [
            (name, card, k, CLASS_COLORS.get(name, OTHER_CLASS))
            for k, name in enumerate(card.class_names)
        ]
    )


def training(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the learning curves."""
    if not card.learning_curve:
        st.info("No learning curves are stored with this model.")
        return
    metrics: dict[Measure, str] = {"loss": "Loss", "accuracy": "Accuracy"}
    for place, (metric, title) in zip(st.columns(2, gap="medium"), metrics.items(), strict=True):
        place.plotly_chart(
            learning_figure({card.model_id: card.learning_curve}, metric, ink()),
            config=chart(f"{card.model_id}-{metric}"),
            key=f"learning {metric}",
            alt=f"{title} by epoch, training and validation",
        )
    st.caption(
        literal(
            f"Selected epoch: {card.best_epoch} (best val. macro-F1). Initial weights: {card.init}."
        )
    )


def shortcuts(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the shortcut audit: how far the source of an image could explain the performance."""
    if card.external:
        st.info("The shortcut audit is made on the model's own test set: select it in the sidebar.")
        return
    if not card.shortcuts:
        st.info("No shortcut audit is stored with this model. Command line:")
        st.code(
            f"python -m covidxr audit {card.model_id} --data DATASET",
            language="bash",
            wrap_lines=True,
        )
        return
    st.markdown("\n".join(f"- {literal(sentence)}" for sentence in shortcut_sentences(card)))
    st.caption(
        "On the test set, with 95% CI. A model can score well by recognizing the source of an "
        "image; only within-source comparisons remove this confounder."
    )


SECTIONS: dict[str, Callable[[ModelCard, Dataset | None], None]] = {
    "By class": by_class,
    "By source": by_source,
    "Curves": curves,
    "Calibration": calibration,
    "Threshold": threshold,
    "Training": training,
    "Shortcuts": shortcuts,
    "Heat maps": heat_maps,
}
