"""The answer to one picture: verdict, probabilities and heat map, or the gate's refusal."""

from __future__ import annotations

import streamlit as st

from covidxr.app.cache import Case, Picture
from covidxr.app.frame import literal
from covidxr.app.predict.exports import exports
from covidxr.app.predict.heat import heat_panel
from covidxr.app.predict.left_out import left_out
from covidxr.app.widgets import ink, model_facts
from covidxr.cards import ModelCard
from covidxr.figures import probability_bars
from covidxr.formatting import whole_percent
from covidxr.records import CasePrediction, display_name
from covidxr.reports.sentences import gate_sentence, set_sentence, stability_sentence, verdict

_MEANINGS = {
    "Normal": "Normal: no lung disease was recorded for pictures of this class.",
    "COVID": "COVID: pictures of patients with a COVID-19 infection.",
    "Viral Pneumonia": "Viral Pneumonia: inflammation of the lung by a virus other than that of COVID-19.",
    "Lung_Opacity": "Lung opacity: shadows in the lung from another cause, such as a bacterial infection.",
}
_STABILITY = (
    "The picture and its mirror image, each as it is and turned by 5° to either side: six versions that show the same disease, "
    "though in three the heart is on the other side. The lines on the bars reach from the lowest to the highest probability."
)


def answer(card: ModelCard, picture: Picture, case: Case) -> bool:
    """Show the verdict and the probabilities, the picture, and where the model looked; or why the model may not judge it.

    Return whether the answer is shown.
    """
    # Of a phantom a warning says that it is none.
    if (
        case.prediction.refusals
        and not picture.synthetic
        and not _shown_anyway(card, picture, case)
    ):
        return False
    probabilities = case.prediction.probabilities
    # The verdict comes first: on a phone the columns stand below one another.
    left, right = st.columns([2, 5], gap="medium")
    with left:
        st.subheader(literal(verdict(case.prediction)), anchor=False)
        bars = ", ".join(
            f"{display_name(name)} {whole_percent(p)}" for name, p in probabilities.items()
        )
        st.plotly_chart(
            probability_bars(probabilities, ink(), case.stability.ranges),
            config={"displayModeBar": False},
            alt=f"Probabilities: {bars}",
        )
        _sentences(card, case)
        if card.synthetic:
            st.warning(
                "This model learned from synthetic phantoms: what it says of a real radiograph means nothing."
            )
        elif picture.synthetic:
            st.warning(
                "This picture is a synthetic phantom: what a model of real radiographs says of it means nothing."
            )
        else:
            st.markdown(_meaning(case.prediction))
        for warning in case.warnings:
            st.warning(literal(warning))
    with right:
        attribution = heat_panel(card, picture, case)
    with st.expander("About this model", icon=":material/description:"):
        model_facts(card)
    left_out(case)
    exports(card, picture, case, attribution)
    return True


def _shown_anyway(card: ModelCard, picture: Picture, case: Case) -> bool:
    """Show the picture and why the model may not judge it; true where the reader wants to see the answer all the same."""
    left, right = st.columns([2, 5], gap="medium")
    with left:
        hidden = refused(card, picture, case)
        if hidden:
            for warning in case.warnings:
                st.warning(literal(warning))
    if hidden:
        name = literal(picture.name)
        right.image(
            case.image,
            caption=name,
            width=300,
            output_format="PNG",
            alt=f"{picture.name}, not judged",
        )
        left_out(case)
    return not hidden


def _meaning(prediction: CasePrediction) -> str:
    """Say what the class stands for and what its probability is worth."""
    name = prediction.predicted
    known = _MEANINGS.get(name, f"{display_name(name)} is a class of the model's dataset.")
    return f"{known} The figure holds for pictures like those of the model's dataset; it is no diagnosis of this patient."


def _sentences(card: ModelCard, case: Case) -> None:
    """Say what is left possible, how steady the answer is, and that the model may judge the picture."""
    sentences = [
        set_sentence(card, case.prediction),
        (stability_sentence(case.stability), _STABILITY),
    ]
    if not case.prediction.refusals:
        sentences.append(gate_sentence(card, case.prediction))
    for said in sentences:
        if said:
            st.markdown(literal(said[0]).replace(" \\%", "\u00a0%"), help=literal(said[1]))


def refused(card: ModelCard, picture: Picture, case: Case) -> bool:
    """Say why the model may not judge a picture, if it may not; false where it may, or the reader wants to see the answer."""
    if not case.prediction.refusals:
        return False
    sentence, worth = gate_sentence(card, case.prediction)
    st.warning(literal(sentence), icon=":material/block:")
    if card.gate:
        st.caption(literal(worth))
    key = f"show anyway {card.model_id} {picture.sha256}"
    return not st.toggle(
        "Show anyway", key=key, help="What a model says of such a picture deserves no belief."
    )
