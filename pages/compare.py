"""Several models side by side: which differences are real, and on which pictures they part."""

import streamlit as st

from covidxr.app.compare.contrasts import SECTIONS, choose_models, metrics_table, paired_tests
from covidxr.app.frame import page
from covidxr.app.viewer import choose_dataset
from covidxr.app.widgets import choose_test_set

PURPOSE = "Set two to five models side by side on the same test pictures, and read which differences are more than chance."

with page("pages/compare.py", "Compare", PURPOSE):
    cards = choose_models()
    if len(cards) > 1:
        cards = choose_test_set(cards)
        dataset = choose_dataset(cards[0])
        metrics_table(cards)
        # What lies side by side below would be counted on different pictures.
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
