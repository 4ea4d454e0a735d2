"""The section of Evaluate on heat maps: where they point, and whether they say what the network uses."""

from __future__ import annotations

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
from covidxr.explanation.localization import best_localisation, pointing_hits
from covidxr.figures import cascade_figure, fit_screen, heat_overlay, opacity_boxes, removal_figure
from covidxr.formatting import percent, points
from covidxr.images.reading import read_image
from covidxr.prediction.cases import explain_randomized
from covidxr.records import display_name
from covidxr.reports.sentences import heat_caption, trust_sentences

_RIVALS = {
    "constant": "Always the same spot (mean of the train boxes)",
    "lungs": "Anywhere in the lungs",
    "noise": "Smoothed noise",
    "centre": "The middle of the picture",
}
_SHOWN = 3
_LOOKED_AT = 40
"""Pictures among which hits and misses are looked for."""


def heat_maps(card: ModelCard, dataset: Dataset | None) -> None:
    """Say how far the model's heat maps can be trusted, in figures and on pictures."""
    if card.external:
        st.info(
            "The heat maps were judged on the model's own test pictures: choose them under “Judged on”."
        )
        return
    if not (card.localisation or card.faithfulness or card.lung_shares):
        st.info("The heat maps of this model have not been put to the test. On the command line:")
        st.code(
            f"python -m covidxr explain-audit {card.model_id} --data DATASET",
            language="bash",
            wrap_lines=True,
        )
        return
    if card.localisation:
        st.markdown(" ".join(literal(sentence) for sentence in trust_sentences(card)))
        _pointing_table(card)
        _hits_and_misses(card, dataset)
    if card.lung_shares:
        _lung_table(card)
    if card.faithfulness:
        _faithfulness(card, dataset)


def kind_of_map(settings: MapSettings) -> str:
    """Write how a map is made: `Grad-CAM of layer4`."""
    parts = [METHOD_TITLES[settings.method] + (f" of {settings.layer}" if settings.layer else "")]
    if settings.window:
        parts.append(f"patch of {settings.window * 100:g} %")
    if settings.smoothing:
        parts.append("smoothed")
    if settings.interpolation == "nearest":
        parts.append("unsmoothed cells")
    if settings.layer and settings.score == "contrast":
        parts.append("against Normal")
    return ", ".join(parts)


def _pointing_table(card: ModelCard) -> None:
    """List the best kind of each method, the rivals, and on demand all kinds."""
    everything = st.toggle("All kinds that were tried", key="all kinds")
    rivals = [one for one in card.localisation if one.settings is None]
    best = [found for method in METHOD_TITLES if (found := best_localisation(card, method))]
    maps = [one for one in card.localisation if one.settings] if everything else best
    rows = [
        *sorted(maps, key=lambda one: -one.test.hits.estimate),
        *sorted(rivals, key=lambda one: -one.test.hits.estimate),
    ]
    st.dataframe(
        {
            "Map": [
                _RIVALS[one.rival] if one.settings is None else kind_of_map(one.settings)
                for one in rows
            ],
            "n": [one.test.n for one in rows],
            "Points into a box": [percent(one.test.hits) for one in rows],
            "Against the same spot": [
                "-" if one.rival == "constant" else points(one.test.gain) for one in rows
            ],
            "Of the map in the boxes": [
                "-" if one.rival == "centre" else percent(one.test.inside) for one in rows
            ],
        },
        hide_index=True,
        column_config={
            "Map": st.column_config.TextColumn(width="large"),
            "n": st.column_config.NumberColumn(
                width=50, help="Test pictures with boxes that the model calls right."
            ),
            "Points into a box": st.column_config.TextColumn(
                help="The map's highest point lies in a radiologist's box."
            ),
            "Against the same spot": st.column_config.TextColumn(
                help="Difference in percentage points, picture by picture."
            ),
            "Of the map in the boxes": st.column_config.TextColumn(
                help="Share of what speaks for the class."
            ),
        },
        alt="How often each kind of map points into the radiologists' boxes",
    )
    name = display_name(card.localisation[0].target)
    st.caption(
        f"Test pictures of {name} with radiologists' boxes that the model calls right; 95 % intervals. Which kind of map "
        "serves was chosen on validation pictures."
    )


def _hits_and_misses(card: ModelCard, dataset: Dataset | None) -> None:
    """Show three pictures on which the default map points into a box and three on which it does not."""
    if dataset is None:
        st.caption(
            "To see hits and misses with the radiologists' boxes, name the dataset's folder or zip in the sidebar."
        )
        return
    if not st.toggle("Three hits and three misses", key=f"hits {card.model_id}"):
        return
    try:
        with st.spinner("Looking for hits and misses…", show_time=True):
            hits, misses = _sorted_out(card, dataset)
        for title, files in (("Points into a box", hits), ("Misses", misses)):
            st.markdown(f"**{title}**" + ("" if files else ": none among those looked at"))
            for place, file in zip(st.columns(_SHOWN), files, strict=False):
                with place:
                    _boxed_tile(card, dataset, file)
    except CovidxrError as error:
        show_error(str(error))


def _sorted_out(card: ModelCard, dataset: Dataset) -> tuple[list[str], list[str]]:
    """Return the first pictures, in a fixed random order, that the default map hits and misses."""
    boxes, part = read_boxes(dataset), numbers.test_predictions(card)
    target = card.class_names.index(card.localisation[0].target)
    right = [
        s
        for s, t, p in zip(part.samples, part.y_true, part.y_pred, strict=True)
        if t == p == target and s in boxes
    ]
    hits: list[str] = []
    misses: list[str] = []
    for i in np.random.default_rng(0).permutation(len(right))[:_LOOKED_AT]:
        file = right[i]
        heat = explain(card, read_sample(dataset, file), card.class_names[target]).heat
        shape = read_image(dataset.read(file), file).shape
        hit = pointing_hits(
            heat[None], box_mask(boxes[file], (shape[0], shape[1]), len(heat))[None]
        )[0]
        (hits if hit else misses).append(file)
        if min(len(hits), len(misses)) >= _SHOWN:
            break
    return hits[:_SHOWN], misses[:_SHOWN]


def _boxed_tile(card: ModelCard, dataset: Dataset, file: str) -> None:
    picture, target = read_sample(dataset, file), card.localisation[0].target
    attribution = explain(card, picture, target)
    image = fit_screen(read_image(picture.content, file), TILE_EDGE)
    drawn = opacity_boxes(heat_overlay(image, attribution.heat, 0.6), read_boxes(dataset)[file])
    name = file.rpartition("/")[2].rpartition(".")[0]
    st.image(
        drawn,
        caption=literal(f"{name}. {heat_caption(attribution)}"),
        width="stretch",
        alt=f"{name} with map and boxes",
    )


def _lung_table(card: ModelCard) -> None:
    st.markdown("**How much of the map lies in the lungs**")
    st.dataframe(
        {
            "Pictures of": [display_name(one.target) for one in card.lung_shares],
            "Map": [kind_of_map(one.settings) for one in card.lung_shares],
            "n": [one.n for one in card.lung_shares],
            "Of the map in the lungs": [percent(one.inside) for one in card.lung_shares],
            "Lungs' share of the picture": [percent(one.lungs) for one in card.lung_shares],
        },
        hide_index=True,
        alt="Share of the maps that lies in the lungs, by class",
    )
    st.caption(
        "A map that knows nothing would have as much in the lungs as the lungs fill of the picture."
    )


def _faithfulness(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the deletion and insertion curves and the randomisation of one method."""
    st.markdown("**Does the map show what the network uses?**")
    of = {one.settings.method: one for one in card.faithfulness}
    best = best_localisation(card)
    start = (
        best.settings.method
        if best and best.settings and best.settings.method in of
        else next(iter(of))
    )
    method = st.selectbox(
        "Method",
        list(of),
        list(of).index(start),
        lambda name: METHOD_TITLES[name],
        key="faithful method",
    )
    found = of[method]
    left, middle, right = st.columns(3, gap="medium")
    for place, title, curves, change, gain in (
        (
            left,
            "Taking pixels away",
            (found.deletion, found.random_deletion),
            "blackened",
            found.deletion_gain,
        ),
        (
            middle,
            "Bringing them back",
            (found.insertion, found.random_insertion),
            "brought back",
            found.insertion_gain,
        ),
    ):
        place.markdown(title)
        figure = removal_figure(*curves, change, ink())
        alt = f"Probability of the class as pixels are {change}"
        place.plotly_chart(figure, config=chart(f"{card.model_id}-{change}"), key=change, alt=alt)
        place.caption(
            f"Area against noise: {points(gain)} points. {'Below' if change == 'blackened' else 'Above'} 0 is good."
        )
    right.markdown("Making the network random, layer by layer")
    right.plotly_chart(
        cascade_figure(found.cascade, ink()),
        config=chart(f"{card.model_id}-random"),
        key="cascade",
        alt="Likeness of the maps to the original ones as layers are made random",
    )
    right.caption(
        "A map that stays alike while the network forgets does not show what it has learned."
    )
    _strip(card, dataset, method)
    st.caption(
        f"{found.n} test pictures, the same for all models; infidelity {found.infidelity.estimate:.3g} and sensitivity "
        f"{found.sensitivity.estimate:.2f} on {found.n_perturbed} of them (less is better)."
    )


def _strip(card: ModelCard, dataset: Dataset | None, method: str) -> None:
    """Show on one picture what becomes of the map as the network is made random."""
    if not st.toggle("See that on one picture", key=f"strip {card.model_id}"):
        return
    picture = phantom(card.class_names[-1], 0)
    if dataset is not None:
        part = numbers.test_predictions(card)
        right = np.flatnonzero(
            (part.y_true == part.y_pred) & (part.y_true == len(card.class_names) - 1)
        )
        if len(right):
            picture = read_sample(dataset, part.samples[int(right[0])])
    with st.spinner("Making the network random, layer by layer…", show_time=True):
        image = read_image(picture.content, picture.name)
        maps = explain_randomized(
            load(card.model_id, card.weights_sha256), image, card.class_names[-1], method
        )
    shown = fit_screen(image, TILE_EDGE)
    with st.grid(min_column_width=120):
        for name, heat in maps:
            title = f"Random down to {name}" if name else "As it was trained"
            st.image(
                heat_overlay(shown, heat, 0.6),
                caption=title,
                width="stretch",
                alt=f"{METHOD_TITLES[method]}: {title.lower()}",
            )
