"""Widgets and texts that several pages show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from covidxr.app.frame import literal, show_error
from covidxr.cards import ModelCard
from covidxr.config import weights_folder
from covidxr.evaluation.stored import external_evaluations, stored_predictions
from covidxr.formatting import count, duration, percent, whole_percent
from covidxr.images import reading
from covidxr.models.architectures import architecture_title
from covidxr.models.store import ModelEntry
from covidxr.prediction.loading import list_models
from covidxr.reports.sentences import detector_performance

SUFFIXES = [suffix.removeprefix(".") for suffix in reading.SUFFIXES]
"""File name suffixes that uploads accept; the content decides whether a file is read."""

_REDRAWN = 0.2
"""Seconds between two updates of a progress bar."""


def ink() -> str:
    """Return the text color of charts; Streamlit's own has too little contrast in light mode."""
    return "#101418" if st.context.theme.type == "light" else "#E6E8EA"


def chart(name: str) -> dict[str, object]:
    """Return the settings of a chart whose only button downloads it as SVG."""
    file = {"format": "svg", "filename": name}
    return {"displaylogo": False, "modeBarButtons": [["toImage"]], "toImageButtonOptions": file}


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with the time left; it is removed at the end.

    Args:
        title: What is done, such as `Analyzing images`.

    Yields:
        A function to be told how many of how many steps are done, as often as one likes.
    """
    bar, started = st.empty(), time.monotonic()
    bar.progress(0.0, f"{title}…")
    drawn = started

    def watch(done: int, total: int) -> None:
        nonlocal drawn
        now = time.monotonic()
        if done and now - drawn > _REDRAWN:
            drawn, left = now, duration((now - started) / done * (total - done))
            bar.progress(done / total, f"{title}: {done:,} of {total:,}, about {left} left")

    try:
        yield watch
    finally:
        bar.empty()


def stored_models() -> tuple[ModelEntry, ...]:
    """List the stored models, the most accurate first; an entry may hold an error instead."""
    # Never cached, since a run may have added a model.
    return list_models()


def training_data(card: ModelCard) -> str:
    """Name a model's training data."""
    return "Synthetic phantoms, not radiographs" if card.synthetic else card.dataset_name


def test_size(card: ModelCard) -> int:
    """Return the number of test samples behind a card's metrics."""
    return sum(card.class_counts.get("test", {}).values())


def choose_model() -> ModelCard | None:
    """Let the user choose a model in the sidebar, for all pages; None where there is none."""
    entries = stored_models()
    cards = {entry.model_id: entry.card for entry in entries if entry.card}
    if not cards:
        no_models(entries)
        return None
    chosen = st.sidebar.selectbox(
        "Model",
        list(cards),
        key="model",
        persist_state="session",
        help="Sorted by test accuracy on the collection of the training data.",
    )
    card = cards[chosen]
    accuracy = percent(card.metrics["accuracy"], test_size(card))
    title = literal(architecture_title(card.architecture))
    st.sidebar.caption(f"{title}  \nIn-collection test accuracy {accuracy}")
    return card


def choose_test_set(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Let the user choose the models' own test set or a shared external one, in the sidebar.

    Returns:
        The cards as evaluated there.
    """
    tested = [set(external_evaluations(card.model_id)) for card in cards]
    shared = set.intersection(*tested) if tested else set()
    if not shared:
        return list(cards)
    names = ["", *sorted(shared)]
    chosen = st.sidebar.selectbox(
        "Test set",
        names,
        format_func=lambda name: f"External: {name}" if name else "Internal (held-out)",
        key=f"test set {len(names)}",
        help="External: images from another dataset than the training images.",
    )
    if not chosen:
        return list(cards)
    evaluated = [stored_predictions(card.model_id, chosen)[0] for card in cards]
    st.info(
        f"**External test set {literal(chosen)}**: {count(test_size(evaluated[0]))} from "
        f"{literal(evaluated[0].dataset_name)}. Thresholds and calibration are unchanged.",
        icon=":material/public:",
    )
    return evaluated


def no_models(entries: Sequence[ModelEntry]) -> None:
    """Say that no model is available and how to get one, and why stored models are unusable."""
    st.info(
        "No model available. Train one on your dataset, then reload this page:",
        icon=":material/info:",
    )
    st.code(
        "python -m covidxr train --data DATASET --recipe covidxr-resnet18",
        language="bash",
        wrap_lines=True,
    )
    folder = literal(str(weights_folder()))
    st.caption(f"Model folder: {folder}. To use another one, set COVIDXR_WEIGHTS.")
    broken_models(entries)


def broken_models(entries: Sequence[ModelEntry]) -> None:
    """Show why stored models cannot be used."""
    for entry in entries:
        if entry.error:
            show_error(entry.error)


def model_facts(card: ModelCard) -> None:
    """Summarize a model's card."""
    n, size = test_size(card), card.preprocessing.image_size
    split = {
        "grouped": "grouped split (by patient and near-duplicate)",
        "given": "predefined split",
    }.get(card.split.protocol, "random split, stratified by class")
    performance = f"accuracy {percent(card.metrics['accuracy'], n)}"
    if "macro_f1" in card.metrics:
        performance += f"; macro-F1 {percent(card.metrics['macro_f1'])}"
    facts = {
        "Network": f"{architecture_title(card.architecture)}; input {size} x {size} px",
        "Training data": f"{training_data(card)}; {split}",
        "In-collection test performance": performance,
        "Intended use": card.intended_use,
    }
    if sets := card.prediction_sets:
        coverage = percent(sets.overall.covered, sets.overall.n)
        facts["Prediction sets"] = (
            f"test coverage {coverage}; target {whole_percent(sets.coverage)}"
        )
    if card.gate:
        facts["Input check"] = detector_performance(card.gate, n)
    st.markdown("\n\n".join(f"**{name}:** {literal(text)}" for name, text in facts.items()))
    st.markdown("**Limitations:**\n" + "\n".join(f"- {literal(limit)}" for limit in card.limits))
