"""Result of one case: prediction, probabilities and heat map, or why the case was rejected."""

from __future__ import annotations

import streamlit as st

from covidxr.app.cache import Analysis, Case
from covidxr.app.frame import literal
from covidxr.app.input_check import rejected
from covidxr.app.predict.exports import PHANTOM, exports
from covidxr.app.predict.header import unused_elements
from covidxr.app.predict.heat import heat_panel
from covidxr.app.widgets import ink, model_facts
from covidxr.cards import ModelCard
from covidxr.figures import fit_screen, probability_bars
from covidxr.formatting import whole_percent
from covidxr.records import display_name
from covidxr.reports.sentences import (
    headline,
    input_check_sentence,
    set_sentence,
    stability_sentence,
)

_MEANINGS = {
    "Normal": "images labeled normal in the training data. Other disease is not excluded.",
    "COVID": "images labeled COVID-19 in the source collections.",
    "Viral Pneumonia": "images labeled as viral pneumonia other than COVID-19; in the COVID-19 "
    "Radiography Database, of children only.",
    "Lung_Opacity": "images labeled as non-COVID opacity (pneumonia, edema, other).",
}
_STABILITY = (
    "Test-time perturbation: the image and its horizontal flip, each rotated by -5°, 0° and +5°. "
    "A flipped image has the heart on the other side. Whiskers: range of the probabilities."
)
_COLUMNS = [2, 5]


def result(card: ModelCard, case: Case, analysis: Analysis) -> bool:
    """Show the prediction, the image and the heat map, or why the case was rejected.

    Returns:
        Whether the prediction is shown.
    """
    # A phantom has a warning of its own.
    failed = analysis.prediction.rejections and not case.synthetic
    if failed and not _shown_anyway(card, case, analysis):
        return False
    # The prediction comes first, since a phone stacks the columns.
    left, right = st.columns(_COLUMNS, gap="medium")
    with left:
        _prediction(card, case, analysis)
    with right:
        attribution = heat_panel(card, case, analysis)
    with st.expander("About this model", icon=":material/description:"):
        model_facts(card)
    unused_elements(case)
    exports(card, case, analysis, attribution)
    return True


def _prediction(card: ModelCard, case: Case, analysis: Analysis) -> None:
    """Show the predicted class, the probabilities and what limits them."""
    probabilities = analysis.prediction.probabilities
    st.subheader(literal(headline(analysis.prediction)), anchor=False)
    bars = ", ".join(
        f"{display_name(name)} {whole_percent(p)}" for name, p in probabilities.items()
    )
    st.plotly_chart(
        probability_bars(probabilities, ink(), analysis.stability.ranges),
        config={"displayModeBar": False},
        alt=f"Probabilities: {bars}",
    )
    _sentences(card, analysis)
    if card.synthetic:
        st.warning(
            "This model was trained on synthetic phantoms: its predictions on radiographs are "
            "meaningless."
        )
    elif case.synthetic:
        st.warning(PHANTOM)
    else:
        name = analysis.prediction.predicted
        meaning = _MEANINGS.get(name, "images labeled so in the training data.")
        st.markdown(
            f"Class {literal(display_name(name))}: {meaning} "
            "Valid only for images like the training data. Not a diagnosis."
        )
    for warning in analysis.warnings:
        st.warning(literal(warning))


def _sentences(card: ModelCard, analysis: Analysis) -> None:
    """Show the prediction set, the test-time stability and the input check."""
    sentences = [
        set_sentence(card, analysis.prediction),
        (stability_sentence(analysis.stability), _STABILITY),
    ]
    if not analysis.prediction.rejections:
        sentences.append(input_check_sentence(card, analysis.prediction))
    for sentence in sentences:
        if sentence:
            text, explanation = map(literal, sentence)
            st.markdown(text, help=explanation)


def _shown_anyway(card: ModelCard, case: Case, analysis: Analysis) -> bool:
    """Show a rejected image and why; true where the user asks for the prediction."""
    left, right = st.columns(_COLUMNS, gap="medium")
    with left:
        hidden = rejected(card, case, analysis)
        if hidden:
            for warning in analysis.warnings:
                st.warning(literal(warning))
    if hidden:
        right.image(
            fit_screen(case.image),
            caption=literal(case.name),
            width=300,
            output_format="PNG",
            alt=f"{case.name}, not analyzed",
        )
        unused_elements(case)
    return not hidden
