"""The Evaluate page."""

import streamlit as st

from covidxr.app import numbers
from covidxr.app.evaluate.errors import choose_cell, selected_images
from covidxr.app.evaluate.metrics import headline
from covidxr.app.evaluate.sections import SECTIONS
from covidxr.app.frame import page
from covidxr.app.viewer import choose_dataset, gallery
from covidxr.app.widgets import choose_model, choose_test_set

PURPOSE = "Performance, errors and audits of one model on its test set."

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
            rows = selected_images(card, cell)
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
                ("All metrics (JSON)", "metrics.json", lambda: numbers.figures_json(card)),
                (
                    "Selected images (CSV)",
                    "selected.csv",
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
