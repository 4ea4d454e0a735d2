"""The result of the input check: why a model does not accept an image."""

from __future__ import annotations

import streamlit as st

from covidxr.app.cache import Case, Picture
from covidxr.app.frame import literal
from covidxr.cards import ModelCard
from covidxr.reports.sentences import gate_sentence


def rejected(card: ModelCard, picture: Picture, case: Case) -> bool:
    """Say why an image was rejected; false where it was not, or the user asks for the result."""
    if not case.prediction.refusals:
        return False
    sentence, reliability = gate_sentence(card, case.prediction)
    st.warning(literal(sentence), icon=":material/block:")
    if card.gate:
        st.caption(literal(reliability))
    key = f"show anyway {card.model_id} {picture.sha256}"
    return not st.toggle("Show anyway", key=key, help="Predictions on such images are unreliable.")
