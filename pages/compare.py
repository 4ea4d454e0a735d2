"""Compare: several models on the same test set."""

import streamlit as st

from covidxr.app.compare.performance import metrics_table, paired_tests
from covidxr.app.compare.sections import SECTIONS
from covidxr.app.compare.selection import choose_models
from covidxr.app.frame import page
from covidxr.app.viewer import choose_dataset
from covidxr.app.widgets import choose_test_set

PURPOSE = "Compare up to five models on the same test set, with paired significance tests."

with page("pages/compare.py", "Compare", PURPOSE):
    cards = choose_models()
    if len(cards) > 1:
        cards = choose_test_set(cards)
        dataset = choose_dataset(cards[0])
        metrics_table(cards)
        # The sections would otherwise compare counts of different images.
        if paired_tests(cards):
            section = st.segmented_control(
                "Section",
                list(SECTIONS),
                default="Confusion matrices",
                required=True,
                key="contrast",
                label_visibility="collapsed",
            )
            SECTIONS[section](cards, dataset)
