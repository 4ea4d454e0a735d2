"""Sentences, tables and small pieces of page that more than one page shows."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from covidxr.app.frame import literal, show_error
from covidxr.cards import ModelCard
from covidxr.config import weights_folder
from covidxr.evaluation.stored import external_tests, stored_predictions
from covidxr.formatting import percent, whole_percent
from covidxr.models.architectures import architecture_title
from covidxr.models.store import ModelEntry
from covidxr.prediction.loading import list_models
from covidxr.reports.sentences import gate_worth

SUFFIXES = ["png", "jpg", "jpeg", "tif", "tiff", "dcm", "dicom"]
"""Names of files that the pages take; what is in them decides whether they are read."""


def ink() -> str:
    """Return the text colour for charts: Streamlit's own is too pale on the light ground to be read with ease."""
    return "#101418" if st.context.theme.type == "light" else "#E6E8EA"


def chart(name: str) -> dict[str, object]:
    """Leave a chart one button: the picture as a file of that name."""
    file = {"format": "svg", "filename": name}
    return {"displaylogo": False, "modeBarButtons": [["toImage"]], "toImageButtonOptions": file}


def stored_models() -> tuple[ModelEntry, ...]:
    """List the stored models anew, since a run may have added one; the most accurate comes first, broken ones say why."""
    return list_models()


def training_data(card: ModelCard) -> str:
    """Say what a model was trained on."""
    return "Synthetic phantoms, not radiographs" if card.synthetic else card.dataset_name


def test_size(card: ModelCard) -> int:
    """Return the number of test samples behind a card's figures."""
    return sum(card.class_counts.get("test", {}).values())


def choose_model() -> ModelCard | None:
    """Let the reader choose a model, in the sidebar and for all pages; where there is none, say so and return None."""
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
        help="The most accurate on its own test pictures stands first.",
    )
    card = cards[chosen]
    accuracy = percent(card.metrics["accuracy"], test_size(card))
    st.sidebar.caption(
        f"{literal(architecture_title(card.architecture))}  \nTest accuracy {accuracy}"
    )
    return card


def choose_test_set(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Let the reader choose, in the sidebar, on which pictures the models are judged: their own test splits, or an external set.

    Return the cards as judged there. The choice is offered where all of the models were judged on one external set at least.
    """
    shared = (
        set.intersection(*(set(external_tests(card.model_id)) for card in cards))
        if cards
        else set()
    )
    if not shared:
        return list(cards)
    names = ["", *sorted(shared)]
    chosen = st.sidebar.selectbox(
        "Judged on",
        names,
        format_func=lambda name: f"External: {name}" if name else "Own test pictures",
        key=f"test set {len(names)}",
        help="External pictures come from elsewhere than those that the model was trained on.",
    )
    if not chosen:
        return list(cards)
    judged = [stored_predictions(card.model_id, chosen)[0] for card in cards]
    st.info(
        f"**External test set {literal(chosen)}**: {test_size(judged[0]):,} pictures from {literal(judged[0].dataset_name)}. "
        "Thresholds and calibration stay those that were chosen on each model's own validation pictures.",
        icon=":material/public:",
    )
    return judged


def no_models(entries: Sequence[ModelEntry]) -> None:
    """Say that there is no model to use, why the stored ones cannot be, and how to get one."""
    st.info(
        "There is no model to judge pictures with yet. Train one on your dataset, then reload this page:",
        icon=":material/info:",
    )
    st.code(
        "python -m covidxr train --data DATASET --recipe covidxr-resnet18",
        language="bash",
        wrap_lines=True,
    )
    folder = literal(str(weights_folder()))
    st.caption(f"Models are looked for in {folder}; set COVIDXR_WEIGHTS to look in another folder.")
    broken_models(entries)


def broken_models(entries: Sequence[ModelEntry]) -> None:
    """Say of every stored model that cannot be used why it cannot."""
    for entry in entries:
        if entry.error:
            show_error(entry.error)


def model_facts(card: ModelCard) -> None:
    """Show the model's card in short."""
    grouped = "a patient's pictures and near-duplicates kept on one side of the split"
    figures = f"accuracy {percent(card.metrics['accuracy'], test_size(card))}"
    if "macro_f1" in card.metrics:
        figures += (
            f"; macro-F1, which weighs every class the same, {percent(card.metrics['macro_f1'])}"
        )
    given = "split as the dataset's own table says"
    split = {"grouped": grouped, "given": given}.get(
        card.split.protocol, "split at random within each class"
    )
    size = card.preprocessing.image_size
    facts = {
        "Network": f"{architecture_title(card.architecture)}; sees pictures at {size} x {size} pixels",
        "Trained on": f"{training_data(card)}; {split}",
        "On test pictures": f"{figures}; 95 % intervals in brackets",
        "Meant for": card.intended_use,
    }
    if card.prediction_sets:
        held = percent(card.prediction_sets.overall.covered, card.prediction_sets.overall.n)
        facts["Prediction sets"] = (
            f"held the right class for {held}; {whole_percent(card.prediction_sets.coverage)} was aimed at"
        )
    if card.gate:
        facts["OodDetector"] = gate_worth(card.gate, test_size(card))
    st.markdown("\n\n".join(f"**{name}:** {literal(text)}" for name, text in facts.items()))
    st.markdown("**Limits:**\n" + "\n".join(f"- {literal(limit)}" for limit in card.limits))
