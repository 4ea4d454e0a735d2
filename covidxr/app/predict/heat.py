"""A heat map on the page: what is explained, how it is drawn, where it lies, and how far it may be trusted."""

from __future__ import annotations

import hashlib

import streamlit as st

from covidxr.app.cache import Case, Picture, explain, lungs
from covidxr.app.frame import literal
from covidxr.app.lightbox import Pane, Sheet, lightbox, png, sheet
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.errors import ModelError
from covidxr.explanation.localization import map_facts
from covidxr.explanation.settings import map_settings
from covidxr.figures import contour_layer, heat_layer, layer_size, on_native_grid, outline_layer
from covidxr.images.reading import read_radiograph
from covidxr.lungs.masks import LungMask, resize_mask
from covidxr.records import Attribution, display_name
from covidxr.reports.sentences import heat_caption, map_sentence, trust_sentences

DRAWINGS = {
    "Colours": "a colour for each height of the map",
    "Contours": "lines around its upper three quarters, its upper half and its upper quarter",
    "Grid": "the cells it was computed on, no finer than the method is",
}
_SOFT_EDGE = 512
"""Long edge in pixels of a layer without lines: no map is finer."""
_NO_SECOND = ""


def heat_panel(card: ModelCard, picture: Picture, case: Case) -> Attribution:
    """Show a picture and where a model found its reasons for a class, and say in words where that is and what it is worth.

    Return the map that is shown.
    """
    pictures, controls = st.container(), st.columns([4, 4, 5], vertical_alignment="bottom")
    names, predicted = list(card.class_names), case.prediction.predicted
    target = controls[0].selectbox(
        "Why",
        names,
        names.index(predicted),
        display_name,
        key=f"explain {predicted}",
        help="The class that is explained.",
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
    attributions = [explain(card, picture, name, method) for name in (target, second) if name]
    found = lungs_of(picture)
    with pictures:
        _view(picture, case, attributions, found)
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
    best = map_settings(card).method
    return st.selectbox(
        "Method",
        list(METHOD_TITLES),
        list(METHOD_TITLES).index(best),
        lambda name: METHOD_TITLES[name],
        key=f"method {card.model_id}",
        help="Ways to ask a network for its reasons; to begin with, the one that serves best by the figures under Evaluate, Heat "
        "maps. Integrated Gradients, Occlusion and GradientShap take seconds.",
    )


def _view(
    picture: Picture, case: Case, attributions: list[Attribution], found: LungMask | None
) -> None:
    """Show the picture, and beside it, or behind a divider, the same under each map."""
    name = "Synthetic phantom, not a radiograph" if picture.synthetic else picture.name
    plain = Pane(
        f"{name}, as the model reads it", f"{name}. {case.padding}" if case.padding else name
    )
    own = _sheet(picture.sha256, picture)
    shape = own.height, own.width
    mapped = [
        Pane(
            f"The same picture under the heat map for {display_name(attribution.target)}",
            heat_caption(attribution),
            _layers(
                hashlib.sha256(attribution.heat.tobytes()).hexdigest(),
                attribution.native_grid,
                shape,
                attribution,
            ),
        )
        for attribution in attributions
    ]
    outline = (
        None
        if found is None
        else _outline(hashlib.sha256(found.tobytes()).hexdigest(), shape, found)
    )
    lightbox(own, [plain, *mapped], DRAWINGS, outline, key="viewer")


# A parameter whose name begins with an underscore is no part of the key: the hashes stand for what it holds.


@st.cache_resource(max_entries=8, show_spinner=False)
def _sheet(picture_sha256: str, _picture: Picture) -> Sheet:
    return sheet(read_radiograph(_picture.content, _picture.name).levels, picture_sha256)


@st.cache_resource(max_entries=32, show_spinner=False)
def _layers(
    heat_sha256: str, grid: tuple[int, int], shape: tuple[int, int], _attribution: Attribution
) -> dict[str, bytes]:
    heat, soft = _attribution.heat, layer_size(*shape, edge=_SOFT_EDGE)
    return {
        "Colours": png(heat_layer(heat, *soft)),
        "Contours": png(contour_layer(heat, *layer_size(*shape))),
        "Grid": png(heat_layer(on_native_grid(heat, grid), *soft)),
    }


@st.cache_resource(max_entries=32, show_spinner=False)
def _outline(lungs_sha256: str, shape: tuple[int, int], _lungs: LungMask) -> bytes:
    return png(outline_layer(_lungs, *layer_size(*shape)))


def lungs_of(picture: Picture) -> LungMask | None:
    """Return the lungs of a picture; None where no segmenter is stored."""
    try:
        return lungs(picture)
    except ModelError:
        return None


def _say_where(attribution: Attribution, found: LungMask | None, named: bool) -> None:
    if found is None:
        st.caption(
            "No lung segmenter is stored, so where the map lies in the lungs cannot be said."
        )
        return
    start = f"{display_name(attribution.target)}: " if named else ""
    facts = map_facts(attribution.heat, resize_mask(found, len(attribution.heat)))
    st.markdown(_unbroken(start + map_sentence(facts)))


def _unbroken(text: str) -> str:
    """Escape a text, and keep its figures and their signs on one line."""
    return literal(text).replace(" %", "\u00a0%")
