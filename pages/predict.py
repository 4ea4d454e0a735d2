"""Drop radiographs, read what a model says of them and where it looked."""

import streamlit as st

from covidxr.app.cache import Case, Picture, explain, judge, phantom
from covidxr.app.frame import literal, page, show_error
from covidxr.app.widgets import case_table, choose_model, heat_caption, meaning, model_facts, verdict
from covidxr.figures import heat_overlay, probability_bars, whole_percent
from covidxr.records import CLASS_NAMES, ModelCard, display_name

PURPOSE = "Drop a chest radiograph and read what a model finds likely, how sure it is, and where in the picture it looked."
SUFFIXES = ["png", "jpg", "jpeg", "tif", "tiff"]


def offer_phantoms() -> None:
    """Offer synthetic phantoms to a reader without a radiograph; another press shows another patient."""
    st.markdown("No radiograph at hand? Try a synthetic phantom, which is not a radiograph:")
    with st.container(horizontal=True):
        for name in CLASS_NAMES:
            if st.button(display_name(name), key=f"phantom {name}"):
                st.session_state["phantom"] = (name, st.session_state.get("phantom", ("", -1))[1] + 1)


def answer(card: ModelCard, picture: Picture, case: Case) -> None:
    """Show the verdict, the picture, where the model looked, and the probabilities."""
    prediction = case.prediction
    st.subheader(verdict(prediction), anchor=False)
    if card.synthetic:
        st.warning(
            "This model learned from synthetic phantoms only: what it says of a real radiograph means nothing.",
            icon=":material/warning:",
        )
    st.markdown(meaning(prediction))
    left, middle, right = st.columns([5, 5, 4], gap="medium")
    with right:
        bars = ", ".join(f"{display_name(name)} {whole_percent(p)}" for name, p in prediction.probabilities.items())
        st.plotly_chart(probability_bars(prediction.probabilities), config={"displayModeBar": False}, alt=f"Probabilities: {bars}")
        names = list(card.class_names)
        target = st.selectbox(
            "Explain",
            names,
            index=names.index(prediction.predicted),
            format_func=display_name,
            key=f"target {prediction.predicted}",
            help="The class for which the heat map shows where the model found its reasons.",
        )
        opacity = st.slider("Heat map opacity (%)", 0, 100, 60, step=5, key="opacity") / 100
    attribution = explain(card, picture, target)
    kind = "Synthetic phantom, not a radiograph" if picture.synthetic else literal(picture.name)
    left.image(case.image, caption=kind, width="stretch", alt=f"The picture as read: {picture.name}")
    overlay = heat_overlay(case.image, attribution.heat, opacity)
    alt = f"The picture with the heat map for {display_name(target)}"
    middle.image(overlay, caption=heat_caption(attribution), width="stretch", alt=alt)
    if case.padding:
        left.caption(case.padding)
    with st.expander("About this model", icon=":material/description:"):
        model_facts(card)


def work(card: ModelCard) -> None:
    """Take files or a phantom, judge them, and show one."""
    left, right = st.columns([2, 3], gap="large")
    files = left.file_uploader("Radiographs (PNG, JPEG or TIFF)", type=SUFFIXES, accept_multiple_files=True, key="files")
    chosen = [Picture.of(file.name, file.getvalue()) for file in files]
    with right:
        if not chosen:
            offer_phantoms()
            chosen = [phantom(*st.session_state["phantom"])] if "phantom" in st.session_state else []
        with st.spinner("Reading…", show_time=True):
            cases = [judge(card, picture) for picture in chosen]
        row = case_table([picture.name for picture in chosen], cases) if len(chosen) > 1 else 0
    if not chosen:
        return
    case = cases[row]
    if isinstance(case, Case):
        answer(card, chosen[row], case)
    else:
        show_error(str(case))


with page("pages/predict.py", "Predict", PURPOSE):
    card = choose_model()
    if card:
        work(card)
