"""Failed input check: why an image was rejected."""

from __future__ import annotations

import streamlit as st

from covidxr.app.cache import Analysis, Case
from covidxr.app.frame import literal
from covidxr.cards import ModelCard
from covidxr.reports.sentences import input_check_sentence


def rejected(card: ModelCard, case: Case, analysis: Analysis) -> bool:
    """Say why an image was rejected; false where it was not, or the user asks for the result."""
    if not analysis.prediction.rejections:
        return False
    sentence, reliability = input_check_sentence(card, analysis.prediction)
    st.warning(literal(sentence), icon=":material/block:")
    if card.gate:
        st.caption(literal(reliability))
    return not st.toggle(
        "Show anyway",
        key=f"show anyway {card.model_id} {case.sha256}",
        help="Predictions on such images are unreliable.",
    )
