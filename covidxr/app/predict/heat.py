"""Heat-map panel: viewer, class and method, energy within the lungs, and validation."""

from __future__ import annotations

import hashlib

import streamlit as st

from covidxr.app.cache import Analysis, Case, explain, lungs_of
from covidxr.app.frame import literal
from covidxr.app.lightbox import Pane, Sheet, lightbox, png, sheet
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.explanation.localization import locate_heat_map
from covidxr.explanation.settings import map_settings
from covidxr.figures import contour_layer, heat_layer, layer_size, on_native_grid, outline_layer
from covidxr.lungs.masks import LungMask, resize_mask
from covidxr.records import Attribution, display_name
from covidxr.reports.sentences import heat_caption, localization_sentences, location_sentence

OVERLAYS = {
    "Color": "color overlay",
    "Contours": "contours at 25, 50 and 75% of the maximum",
    "Native grid": "color overlay at the native resolution of the method",
}
_SOFT_EDGE = 512
"""Long edge in pixels of an overlay without lines; no heat map is finer."""
_NONE = ""


def heat_panel(card: ModelCard, case: Case, analysis: Analysis) -> Attribution:
    """Show a case in the viewer with the heat maps of one or two classes, and their validation.

    Returns:
        The heat map of the first class.
    """
    viewer, controls = st.container(), st.columns([4, 4, 5], vertical_alignment="bottom")
    names, predicted = list(card.class_names), analysis.prediction.predicted
    target = controls[0].selectbox(
        "Explain class",
        names,
        names.index(predicted),
        display_name,
        key=f"explain {predicted}",
    )
    second = controls[1].selectbox(
        "Compare with class",
        [_NONE, *(name for name in names if name != target)],
        format_func=lambda name: display_name(name) if name else "None",
        key=f"second {target}",
        help="Shows the heat map of a second class next to the first.",
    )
    with controls[2]:
        method = _choose_method(card)
    attributions = [explain(card, case, name, method) for name in (target, second) if name]
    lungs = lungs_of(case)
    with viewer:
        _view(case, analysis, attributions, lungs)
    if lungs is None:
        st.caption("Heat-map energy within the lungs: not available, no lung segmenter is stored.")
    else:
        for attribution in attributions:
            start = f"{display_name(attribution.target)}: " if len(attributions) > 1 else ""
            facts = locate_heat_map(attribution.heat, resize_mask(lungs, len(attribution.heat)))
            st.markdown(literal(start + location_sentence(facts)))
    st.markdown(literal(" ".join(localization_sentences(card, method))))
    st.caption(
        "The heat map shows model evidence, not pathology. "
        "It does not measure extent or exclude other findings."
    )
    return attributions[0]


def _choose_method(card: ModelCard) -> str:
    best = map_settings(card).method
    return st.selectbox(
        "Method",
        list(METHOD_TITLES),
        list(METHOD_TITLES).index(best),
        lambda name: METHOD_TITLES[name],
        key=f"method {card.model_id}",
        help="Attribution method; default: best localization on validation images. Integrated "
        "Gradients, Occlusion and GradientShap take seconds.",
    )


def _view(
    case: Case, analysis: Analysis, attributions: list[Attribution], lungs: LungMask | None
) -> None:
    """Show the image, and next to it the same under each heat map."""
    name = "Synthetic phantom, not a radiograph" if case.synthetic else case.name
    caption = f"{name}. {analysis.padding}" if analysis.padding else name
    image = _sheet(case.sha256, case)
    shape = image.height, image.width
    panes = [Pane(f"{name}, input image", caption)]
    for attribution in attributions:
        heat_sha256 = hashlib.sha256(attribution.heat.tobytes()).hexdigest()
        panes.append(
            Pane(
                f"Input image with heat map for {display_name(attribution.target)}",
                heat_caption(attribution),
                _overlays(heat_sha256, attribution.native_grid, shape, attribution),
            )
        )
    outline = None
    if lungs is not None:
        outline = _outline(hashlib.sha256(lungs.tobytes()).hexdigest(), shape, lungs)
    lightbox(image, panes, OVERLAYS, outline, key="viewer")


# A parameter whose name begins with an underscore is not part of the key: hashes represent it.


@st.cache_resource(max_entries=8, show_spinner=False)
def _sheet(case_sha256: str, _case: Case) -> Sheet:
    return sheet(_case.radiograph.levels, case_sha256)


@st.cache_resource(max_entries=32, show_spinner=False)
def _overlays(
    heat_sha256: str, grid: tuple[int, int], shape: tuple[int, int], _attribution: Attribution
) -> dict[str, bytes]:
    heat, soft = _attribution.heat, layer_size(*shape, edge=_SOFT_EDGE)
    return {
        "Color": png(heat_layer(heat, *soft)),
        "Contours": png(contour_layer(heat, *layer_size(*shape))),
        "Native grid": png(heat_layer(on_native_grid(heat, grid), *soft)),
    }


@st.cache_resource(max_entries=32, show_spinner=False)
def _outline(lungs_sha256: str, shape: tuple[int, int], _lungs: LungMask) -> bytes:
    return png(outline_layer(_lungs, *layer_size(*shape)))
