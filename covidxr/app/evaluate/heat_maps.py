"""Validation of one model's heat maps: localization, lungs and faithfulness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from covidxr.app import numbers
from covidxr.app.cache import explain, load, phantom
from covidxr.app.frame import literal, show_error
from covidxr.app.viewer import TILE_EDGE, read_sample
from covidxr.app.widgets import chart, ink
from covidxr.cards import METHOD_TITLES, MapSettings, ModelCard
from covidxr.datasets.boxes import box_mask, read_boxes
from covidxr.datasets.dataset import Dataset
from covidxr.errors import CovidxrError
from covidxr.explanation.localization import best_localization, pointing_hits
from covidxr.figures import cascade_figure, fit_screen, heat_overlay, opacity_boxes, removal_figure
from covidxr.formatting import NO_VALUE, count, decimal_difference, percent, points
from covidxr.prediction.cases import explain_randomized
from covidxr.records import display_name
from covidxr.reports.sentences import heat_caption, localization_sentences

_BASELINES = {
    "constant": "Fixed location (mean of the training boxes)",
    "lungs": "Uniform in the lungs",
    "noise": "Smoothed noise",
    "centre": "Image center",
}
_OPACITY = 0.6
_EXAMPLES = 3
_SEARCHED = 40
"""Images that are searched for examples."""


def heat_maps(card: ModelCard, dataset: Dataset | None) -> None:
    """Show how far the model's heat maps can be relied on, in metrics and examples."""
    if card.external:
        st.info("Heat maps are validated on the model's own test set: select it in the sidebar.")
        return
    if not (card.localisation or card.faithfulness or card.lung_shares):
        st.info("The heat maps of this model have not been validated. Command line:")
        st.code(
            f"python -m covidxr explain-audit {card.model_id} --data DATASET",
            language="bash",
            wrap_lines=True,
        )
        return
    if card.localisation:
        st.markdown("**Localization:** do heat maps point to the annotated opacities?")
        st.markdown(" ".join(literal(sentence) for sentence in localization_sentences(card)))
        _localization_table(card)
        _examples(card, dataset)
    if card.lung_shares:
        _lung_table(card)
    if card.faithfulness:
        _faithfulness(card, dataset)


def configuration(settings: MapSettings) -> str:
    """Name a heat-map configuration: `Grad-CAM, layer4, relative to Normal`."""
    parts = [METHOD_TITLES[settings.method]]
    if settings.layer:
        parts.append(settings.layer)
    if settings.window:
        parts.append(f"{settings.window * 100:g}% patch")
    if settings.smoothing:
        parts.append("smoothed")
    if settings.interpolation == "nearest":
        parts.append("not interpolated")
    if settings.layer and settings.score == "contrast":
        parts.append("relative to Normal")
    return ", ".join(parts)


def _localization_table(card: ModelCard) -> None:
    """List the best configuration of each method, or all, and the baselines."""
    everything = st.toggle("Show all configurations", key="all configurations")
    best = [found for method in METHOD_TITLES if (found := best_localization(card, method))]
    own = [one for one in card.localisation if one.settings] if everything else best
    baselines = [one for one in card.localisation if one.settings is None]
    rows = [
        *sorted(own, key=lambda one: -one.test.hits.estimate),
        *sorted(baselines, key=lambda one: -one.test.hits.estimate),
    ]
    st.dataframe(
        {
            "Configuration": [
                configuration(one.settings) if one.settings else _BASELINES[one.rival]
                for one in rows
            ],
            "n": [one.test.n for one in rows],
            "Pointing-game hit rate": [percent(one.test.hits, brief=True) for one in rows],
            "Difference from fixed location (points)": [
                NO_VALUE if one.rival == "constant" else points(one.test.gain, brief=True)
                for one in rows
            ],
            "Energy in boxes": [
                NO_VALUE if one.rival == "centre" else percent(one.test.inside, brief=True)
                for one in rows
            ],
        },
        hide_index=True,
        column_config={
            "Configuration": st.column_config.TextColumn(width=310),
            "n": st.column_config.NumberColumn(
                width=50, help="Correctly classified test images with boxes."
            ),
            "Pointing-game hit rate": st.column_config.TextColumn(
                help="Images in which the maximum of the heat map is inside a radiologist's box.",
                width=150,
            ),
            "Difference from fixed location": st.column_config.TextColumn(
                help="Hit rate minus that of the fixed location on the same images.",
                width=280,
            ),
            "Energy in boxes": st.column_config.TextColumn(
                help="Share of the positive evidence that is inside the boxes.", width=130
            ),
        },
        alt="Pointing-game hit rate of each heat-map configuration and baseline",
    )
    name = display_name(card.localisation[0].target)
    st.caption(
        f"Correctly classified test images of {name} with radiologists' boxes; 95% CI in "
        "parentheses. Configuration selected on the validation set."
    )


def _examples(card: ModelCard, dataset: Dataset | None) -> None:
    """Show images whose heat map points into a box, and others whose heat map does not."""
    if dataset is None:
        st.caption(
            "To show examples with the radiologists' boxes, enter the dataset folder or zip in the "
            "sidebar."
        )
        return
    if not st.toggle("Show examples", key=f"examples {card.model_id}"):
        return
    try:
        with st.spinner("Computing heat maps…", show_time=True):
            hits, misses = _find_examples(card, dataset)
        for title, files in (("Hits", hits), ("Misses", misses)):
            st.markdown(f"**{title}**" + ("" if files else ": none found"))
            for place, file in zip(st.columns(_EXAMPLES), files, strict=False):
                with place:
                    _example(card, dataset, file)
    except CovidxrError as error:
        show_error(str(error))


def _find_examples(card: ModelCard, dataset: Dataset) -> tuple[list[str], list[str]]:
    """Return the first hits and the first misses, in a fixed random order."""
    boxes, part = read_boxes(dataset), numbers.test_predictions(card)
    target = card.class_names.index(card.localisation[0].target)
    correct = [
        sample
        for sample, true, predicted in zip(part.samples, part.y_true, part.y_pred, strict=True)
        if true == predicted == target and sample in boxes
    ]
    hits: list[str] = []
    misses: list[str] = []
    for i in np.random.default_rng(0).permutation(len(correct))[:_SEARCHED]:
        file = correct[i]
        case = read_sample(dataset, file)
        heat = explain(card, case, card.class_names[target]).heat
        height, width = case.image.shape
        mask = box_mask(boxes[file], (height, width), len(heat))
        (hits if pointing_hits(heat[None], mask[None])[0] else misses).append(file)
        if min(len(hits), len(misses)) >= _EXAMPLES:
            break
    return hits[:_EXAMPLES], misses[:_EXAMPLES]


def _example(card: ModelCard, dataset: Dataset, file: str) -> None:
    case = read_sample(dataset, file)
    attribution = explain(card, case, card.localisation[0].target)
    image = fit_screen(case.image, TILE_EDGE)
    name = file.rpartition("/")[2].rpartition(".")[0]
    st.image(
        opacity_boxes(heat_overlay(image, attribution.heat, _OPACITY), read_boxes(dataset)[file]),
        caption=literal(f"{name}. {heat_caption(attribution)}"),
        width="stretch",
        alt=f"{name} with heat map and radiologists' boxes",
    )


def _lung_table(card: ModelCard) -> None:
    st.markdown("**Energy within the lungs**")
    st.dataframe(
        {
            "Class": [display_name(one.target) for one in card.lung_shares],
            "Configuration": [configuration(one.settings) for one in card.lung_shares],
            "n": [one.n for one in card.lung_shares],
            "Energy within lungs": [percent(one.inside, brief=True) for one in card.lung_shares],
            "Lung area": [percent(one.lungs, brief=True) for one in card.lung_shares],
        },
        hide_index=True,
        alt="Share of the heat-map energy that is within the lungs, by class",
    )
    st.caption("95% CI in parentheses. Chance level: the lung area.")


def _faithfulness(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the deletion and insertion curves and the randomization test of one method."""
    st.markdown("**Faithfulness:** do heat maps show what the network uses?")
    by_method = {one.settings.method: one for one in card.faithfulness}
    best = best_localization(card)
    start = best.settings.method if best and best.settings else ""
    method = st.selectbox(
        "Method",
        list(by_method),
        list(by_method).index(start) if start in by_method else 0,
        METHOD_TITLES.__getitem__,
        key="faithful method",
    )
    found = by_method[method]
    left, middle, right = st.columns(3, gap="medium")
    with left:
        gain = f"{decimal_difference(found.deletion_gain)}; lower is better"
        _removal(card, "Deletion", "blackened", (found.deletion, found.random_deletion), gain)
    with middle:
        gain = f"{decimal_difference(found.insertion_gain)}; higher is better"
        _removal(card, "Insertion", "restored", (found.insertion, found.random_insertion), gain)
    with right:
        st.markdown("Model randomization (sanity check)")
        st.plotly_chart(
            cascade_figure(found.cascade, ink()),
            config=chart(f"{card.model_id}-randomization"),
            key="cascade",
            alt="Similarity to the original heat maps as layers are randomized",
        )
        st.caption(
            "A heat map that stays similar while the weights are randomized does not show what the "
            "network has learned."
        )
    _randomized_example(card, dataset, method)
    st.caption(
        f"{count(found.n, 'test image')}, the same for all models. Infidelity "
        f"{found.infidelity.estimate:.3g} and sensitivity {found.sensitivity.estimate:.2f} on "
        f"{found.n_perturbed} of them; lower is better."
    )


def _removal(
    card: ModelCard,
    title: str,
    change: str,
    curves: tuple[Sequence[float], Sequence[float]],
    gain: str,
) -> None:
    """Show how a class probability changes with the pixels, by the heat map and by noise."""
    st.markdown(title)
    st.plotly_chart(
        removal_figure(*curves, change, ink()),
        config=chart(f"{card.model_id}-{title.lower()}"),
        key=title.lower(),
        alt=f"Probability of the class as pixels are {change}",
    )
    st.caption(f"Area under the curve vs. noise: {gain}.")


def _randomized_example(card: ModelCard, dataset: Dataset | None, method: str) -> None:
    """Show on one image how the heat map changes as the network is randomized."""
    if not st.toggle("Show an example of the randomization", key=f"randomized {card.model_id}"):
        return
    case = phantom(card.class_names[-1], 0)
    if dataset is not None:
        part, last = numbers.test_predictions(card), len(card.class_names) - 1
        correct = np.flatnonzero((part.y_true == last) & (part.y_pred == last))
        if len(correct):
            case = read_sample(dataset, part.samples[int(correct[0])])
    with st.spinner("Randomizing the network layer by layer…", show_time=True):
        model = load(card.model_id, card.weights_sha256)
        maps = explain_randomized(model, case.image, card.class_names[-1], method)
    shown = fit_screen(case.image, TILE_EDGE)
    with st.grid(min_column_width=120):
        for name, heat in maps:
            title = f"Randomized through {name}" if name else "Trained"
            st.image(
                heat_overlay(shown, heat, _OPACITY),
                caption=title,
                width="stretch",
                alt=f"{METHOD_TITLES[method]}: {title.lower()}",
            )
