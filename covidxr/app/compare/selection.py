"""Selection of the models to compare."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from covidxr.app.frame import literal
from covidxr.app.widgets import no_models, stored_models
from covidxr.cards import ModelCard
from covidxr.figures import MODEL_COLORS

_MOST = len(MODEL_COLORS)


def choose_models() -> list[ModelCard]:
    """Let the user choose two to five models; say what is missing where there are fewer."""
    entries = stored_models()
    cards = {entry.model_id: entry.card for entry in entries if entry.card}
    if not cards:
        no_models(entries)
        return []
    if len(cards) < 2:
        st.info(
            f"At least two models are required; only {literal(next(iter(cards)))} is available. "
            "Train another one, then reload this page:"
        )
        st.code(
            "python -m covidxr train --data DATASET --recipe poster-cnn",
            language="bash",
            wrap_lines=True,
        )
        return []
    chosen = st.multiselect(
        "Models",
        list(cards),
        list(cards)[:_MOST],
        max_selections=_MOST,
        key="models",
        persist_state="session",
    )
    if len(chosen) < 2:
        st.info("Select at least two models.")
        return []
    return [cards[name] for name in chosen]


def choose_pair(cards: Sequence[ModelCard], key: str) -> tuple[ModelCard, ModelCard]:
    """Let the user choose two of the models."""
    by_id = {card.model_id: card for card in cards}
    first = st.selectbox("First model", list(by_id), 1, key=f"{key} a")
    others = [name for name in by_id if name != first]
    return by_id[first], by_id[st.selectbox("Second model", others, key=f"{key} b")]
