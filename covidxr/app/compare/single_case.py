"""One case analyzed by all models: predictions and heat maps in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from covidxr.app import numbers
from covidxr.app.cache import Analysis, Case, analyze, explain, lungs_of, read_case
from covidxr.app.frame import literal, show_error
from covidxr.app.input_check import rejected
from covidxr.app.notice import accepted
from covidxr.app.viewer import read_sample
from covidxr.app.widgets import SUFFIXES, ink
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.errors import ImageError
from covidxr.explanation.localization import locate_heat_map
from covidxr.figures import fit_screen, heat_overlay, probability_bars
from covidxr.lungs.masks import LungMask, resize_mask
from covidxr.records import display_name
from covidxr.reports.sentences import headline, heat_caption, location_sentence

Analyses = Mapping[str, Analysis | ImageError]
"""By model id."""


def single_case(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Analyze an upload or a test image with all models."""
    if not accepted():
        return
    left, right = st.columns(2, gap="medium")
    case = _choose_case(cards[0], dataset, left, right)
    if case is None:
        return
    with st.spinner("Analyzing…", show_time=True):
        analyses = {card.model_id: analyze(card, case) for card in cards}
    first = analyses[cards[0].model_id]
    if isinstance(first, ImageError):
        show_error(str(first))
        return
    with right:
        target, method = _choose_explanation(cards[0].class_names, case, analyses)
        st.image(
            fit_screen(case.image),
            caption=literal(case.name),
            width=240,
            output_format="PNG",
            alt=case.name,
        )
    with left:
        for warning in first.warnings:
            st.warning(literal(warning))
    lungs = lungs_of(case)
    for column, card in zip(st.columns(len(cards)), cards, strict=True):
        with column:
            _model_column(card, case, analyses[card.model_id], target, method, lungs)
    st.caption(
        "Each heat map is scaled to its own maximum (dark: no evidence, pale yellow: maximum); "
        "the strength of evidence is not comparable between models."
    )


def _choose_case(
    card: ModelCard,
    dataset: Dataset | None,
    left: st.delta_generator.DeltaGenerator,
    right: st.delta_generator.DeltaGenerator,
) -> Case | None:
    file = left.file_uploader(
        "Upload a chest X-ray (DICOM, PNG, JPEG or TIFF)", type=SUFFIXES, key="one file"
    )
    samples = list(numbers.test_predictions(card).samples) if dataset else []
    sample = right.selectbox(
        "Or select a test image",
        samples,
        None,
        key="one sample",
        placeholder="Select" if samples else "Set the dataset in the sidebar first",
        disabled=not samples,
    )
    if file is not None:
        return read_case(file.name, file.getvalue())
    return read_sample(dataset, sample) if sample and dataset else None


def _choose_explanation(
    class_names: Sequence[str], case: Case, analyses: Analyses
) -> tuple[str, str]:
    """Let the user choose the class, at first the most often predicted one, and the method."""
    predictions = [
        analysis.prediction.predicted
        for analysis in analyses.values()
        if isinstance(analysis, Analysis) and not analysis.prediction.rejections
    ]
    names = list(class_names)
    most_frequent = max(names, key=predictions.count)
    left, right = st.columns(2)
    target = left.selectbox(
        "Explain class",
        names,
        names.index(most_frequent),
        display_name,
        key=f"explain all {case.sha256}",
    )
    method = right.selectbox(
        "Method",
        list(METHOD_TITLES),
        format_func=lambda name: METHOD_TITLES[name],
        key="method of all",
    )
    return target, method


def _model_column(
    card: ModelCard,
    case: Case,
    analysis: Analysis | ImageError,
    target: str,
    method: str,
    lungs: LungMask | None,
) -> None:
    """Show one model's prediction and heat map, or why it has none."""
    if isinstance(analysis, ImageError):
        show_error(str(analysis))
        return
    st.markdown(f"**{literal(card.model_id)}**")
    if rejected(card, case, analysis):
        return
    title = headline(analysis.prediction)
    st.markdown(literal(title))
    attribution = explain(card, case, target, method)
    st.image(
        heat_overlay(fit_screen(case.image), attribution.heat, 0.6),
        caption=heat_caption(attribution),
        width="stretch",
        alt=f"Heat map of {card.model_id} for {display_name(target)}",
    )
    if lungs is not None:
        facts = locate_heat_map(attribution.heat, resize_mask(lungs, len(attribution.heat)))
        st.caption(literal(location_sentence(facts)))
    st.plotly_chart(
        probability_bars(analysis.prediction.probabilities, ink(), analysis.stability.ranges),
        config={"displayModeBar": False},
        key=f"bars {card.model_id}",
        alt=title,
    )
