"""Drop radiographs, read what a model says of them and where it looked."""

import streamlit as st

from covidxr.app.cache import Case, Picture, explain, judge, phantom
from covidxr.app.frame import literal, page, show_error
from covidxr.app.widgets import SUFFIXES, case_table, choose_model, heat_caption, ink, meaning, model_facts, verdict
from covidxr.figures import heat_overlay, probability_bars, whole_percent
from covidxr.records import CLASS_NAMES, ModelCard, display_name

PURPOSE = "Drop a chest radiograph and read what a model finds likely, how sure it is, and where in the picture it looked."


def offer_phantoms() -> None:
    """Offer synthetic phantoms to a reader without a radiograph; another press shows another patient."""
    st.markdown("No radiograph at hand? Try a synthetic phantom, which is not a radiograph:")
    with st.container(horizontal=True):
        for name in CLASS_NAMES:
            if st.button(display_name(name), key=f"phantom {name}"):
                st.session_state["phantom"] = (name, st.session_state.get("phantom", ("", -1))[1] + 1)


def answer(card: ModelCard, picture: Picture, case: Case) -> None:
    """Show the verdict and the probabilities, the picture, and where the model looked."""
    probabilities, predicted, names = case.prediction.probabilities, case.prediction.predicted, list(card.class_names)
    # The verdict comes first: on a phone the columns stand below one another.
    left, middle, right = st.columns([4, 5, 5], gap="medium")
    with left:
        st.subheader(literal(verdict(case.prediction)), anchor=False)
        if card.synthetic:
            st.warning("This model learned from synthetic phantoms: what it says of a real radiograph means nothing.")
        elif picture.synthetic:
            st.warning("This picture is a synthetic phantom: what a model of real radiographs says of it means nothing.")
        else:
            st.markdown(meaning(case.prediction))
        bars = ", ".join(f"{display_name(name)} {whole_percent(p)}" for name, p in probabilities.items())
        st.plotly_chart(probability_bars(probabilities, ink()), config={"displayModeBar": False}, alt=f"Probabilities: {bars}")
    name = "Synthetic phantom, not a radiograph" if picture.synthetic else picture.name
    caption = literal(f"{name}. {case.padding}" if case.padding else name)
    # JPEG, which Streamlit would choose, blurs what a radiograph is looked at for.
    middle.image(case.image, caption=caption, width="stretch", output_format="PNG", alt=f"{name}, as the model reads it")
    with right:
        place, controls = st.container(), st.columns(2)
        why = "The class for which the heat map shows where the model found its reasons."
        start = names.index(predicted)
        target = controls[0].selectbox("Explain", names, start, display_name, key=f"explain {predicted}", help=why)
        opacity = controls[1].slider("Heat map opacity (%)", 0, 100, 60, step=5, key="opacity") / 100
        attribution = explain(card, picture, target)
        overlay = heat_overlay(case.image, attribution.heat, opacity)
        alt = f"The same picture under the heat map for {display_name(target)}"
        place.image(overlay, caption=heat_caption(attribution), width="stretch", alt=alt)
    with st.expander("About this model", icon=":material/description:"):
        model_facts(card)


def work(card: ModelCard) -> None:
    """Take files or a phantom, judge them, and show one."""
    left, right = st.columns([2, 3], gap="medium")
    files = left.file_uploader("Radiographs (PNG, JPEG, TIFF or DICOM)", type=SUFFIXES, accept_multiple_files=True, key="files")
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
