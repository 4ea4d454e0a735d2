"""A heat map on the page: what is explained, how it is drawn, where it lies, and how far it may be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import streamlit as st

from covidxr import workflows
from covidxr.app.cache import Case, Picture, explain, lungs
from covidxr.app.frame import literal
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.data.lungs import LungMask, resize_mask
from covidxr.errors import ModelError
from covidxr.evaluation.localisation import map_facts
from covidxr.figures import heat_contours, heat_overlay, lung_outline, on_native_grid
from covidxr.records import Attribution, display_name
from covidxr.reports.heat_maps import heat_caption, map_sentence, trust_sentences

Drawing = Literal["Colours", "Contours", "Grid"]
DRAWINGS: dict[Drawing, str] = {
    "Colours": "a colour for each height of the map",
    "Contours": "lines around its upper three quarters, its upper half and its upper quarter",
    "Grid": "the cells it was computed on, no finer than the method is",
}
_NO_SECOND = ""


def heat_panel(card: ModelCard, picture: Picture, case: Case) -> Attribution:
    """Show a picture and where a model found its reasons for a class, and say in words where that is and what it is worth.

    Return the map that is shown.
    """
    pictures, controls = st.container(), st.columns([4, 4, 5, 3], vertical_alignment="bottom")
    names, predicted = list(card.class_names), case.prediction.predicted
    target = controls[0].selectbox(
        "Why", names, names.index(predicted), display_name, key=f"explain {predicted}", help="The class that is explained."
    )
    second = controls[1].selectbox(
        "and not",
        [_NO_SECOND, *(name for name in names if name != target)],
        format_func=lambda name: display_name(name) if name else "-",
        key=f"second {target}",
        help="A second class, whose map is then shown beside the first.",
    )
    with controls[2]:
        method = _choose_method(card)
    with controls[3]:
        drawing, opacity, outlined = _choose_drawing()
    attributions = [explain(card, picture, name, method) for name in (target, second) if name]
    found = lungs_of(picture)
    first, *others = pictures.columns(1 + len(attributions))
    name = "Synthetic phantom, not a radiograph" if picture.synthetic else picture.name
    caption = literal(f"{name}. {case.padding}" if case.padding else name)
    # JPEG, which Streamlit would choose, blurs what a radiograph is looked at for.
    first.image(case.image, caption=caption, width="stretch", output_format="PNG", alt=f"{name}, as the model reads it")
    for place, attribution in zip(others, attributions, strict=True):
        drawn = _draw(case, attribution, drawing, opacity, found if outlined else None)
        alt = f"The same picture under the heat map for {display_name(attribution.target)}"
        place.image(drawn, caption=heat_caption(attribution), width="stretch", output_format="PNG", alt=alt)
    for attribution in attributions:
        _say_where(attribution, found, named=len(attributions) > 1)
    st.markdown(_unbroken(" ".join(trust_sentences(card, method))))
    st.caption(
        "A heat map shows what moved the network, not what is ill: it cannot say how large a finding is, nor that nothing else is "
        "there."
    )
    return attributions[0]


def _choose_method(card: ModelCard) -> str:
    """Let the reader choose the method; the one that points best comes first."""
    best = workflows.map_settings(card).method
    return st.selectbox(
        "Method",
        list(METHOD_TITLES),
        list(METHOD_TITLES).index(best),
        lambda name: METHOD_TITLES[name],
        key=f"method {card.model_id}",
        help="Ways to ask a network for its reasons; to begin with, the one that serves best by the figures under Evaluate, Heat "
        "maps. Integrated Gradients, Occlusion and GradientShap take seconds.",
    )


def _choose_drawing() -> tuple[Drawing, float, bool]:
    """Let the reader choose how a map is drawn: the drawing, its opacity in [0, 1], whether the lungs are outlined."""
    with st.popover("Drawing", icon=":material/tune:", width="stretch"):
        drawing = st.radio("Draw", list(DRAWINGS), captions=list(DRAWINGS.values()), key="drawing")
        opacity = st.slider("Opacity (%)", 0, 100, 60, step=5, key="opacity", disabled=drawing == "Contours") / 100
        outlined = st.checkbox("Outline the lungs", True, key="outline")
    return drawing, opacity, outlined


def _draw(case: Case, attribution: Attribution, drawing: Drawing, opacity: float, found: LungMask | None) -> npt.NDArray[np.uint8]:
    drawings: dict[Drawing, Callable[[], npt.NDArray[np.uint8]]] = {
        "Colours": lambda: heat_overlay(case.image, attribution.heat, opacity),
        "Contours": lambda: heat_contours(case.image, attribution.heat),
        "Grid": lambda: heat_overlay(case.image, on_native_grid(attribution.heat, attribution.native_grid), opacity),
    }
    drawn = drawings[drawing]()
    return drawn if found is None else lung_outline(drawn, found)


def lungs_of(picture: Picture) -> LungMask | None:
    """Return the lungs of a picture; None where no segmenter is stored."""
    try:
        return lungs(picture)
    except ModelError:
        return None


def _say_where(attribution: Attribution, found: LungMask | None, named: bool) -> None:
    if found is None:
        st.caption("No lung segmenter is stored, so where the map lies in the lungs cannot be said.")
        return
    start = f"{display_name(attribution.target)}: " if named else ""
    facts = map_facts(attribution.heat, resize_mask(found, len(attribution.heat)))
    st.markdown(_unbroken(start + map_sentence(facts)))


def _unbroken(text: str) -> str:
    """Escape a text, and keep its figures and their signs on one line."""
    return literal(text).replace(" %", "\u00a0%")
