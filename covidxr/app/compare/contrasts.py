"""The pieces of Compare: several models on the same test pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import streamlit as st

from covidxr.app import numbers
from covidxr.app.cache import Case, Picture, explain, judge
from covidxr.app.evaluate.sections import choose_class, draw_curves
from covidxr.app.frame import literal, show_error
from covidxr.app.notice import accepted
from covidxr.app.predict.answer import refused
from covidxr.app.predict.heat import lungs_of
from covidxr.app.viewer import gallery, read_sample
from covidxr.app.widgets import SUFFIXES, chart, ink, no_models, stored_models
from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.errors import ConfigError
from covidxr.explanation.localization import map_facts
from covidxr.figures import (
    MODEL_COLOURS,
    Measure,
    confusion_grid,
    difference_figure,
    heat_overlay,
    learning_figure,
    probability_bars,
)
from covidxr.formatting import p_value, percent, points
from covidxr.lungs.masks import resize_mask
from covidxr.metrics.comparison import Comparison
from covidxr.models.recipes import STUDY_ACCURACY
from covidxr.records import Interval, display_name
from covidxr.reports.sentences import heat_caption, map_sentence, verdict

MOST = len(MODEL_COLOURS)


def choose_models() -> list[ModelCard]:
    """Let the reader choose two to five models; say what is missing where there are fewer than two."""
    entries = stored_models()
    cards = {entry.model_id: entry.card for entry in entries if entry.card}
    if len(cards) < 2:
        if cards:
            st.info(
                f"There is only {literal(next(iter(cards)))}, and a comparison needs two. Train another, then reload this page:"
            )
            st.code(
                "python -m covidxr train --data DATASET --recipe poster-cnn",
                language="bash",
                wrap_lines=True,
            )
        else:
            no_models(entries)
        return []
    chosen = st.multiselect(
        "Models",
        list(cards),
        list(cards)[:MOST],
        max_selections=MOST,
        key="models",
        persist_state="session",
    )
    if len(chosen) < 2:
        st.info("Choose two models or more.")
        return []
    return [cards[name] for name in chosen]


def metrics_table(cards: Sequence[ModelCard]) -> None:
    """Show the models' figures, and those that the study published for the same recipes."""
    rows = []
    for card in cards:
        figures = numbers.evaluation(card).figures
        shares = {
            "Accuracy": figures.accuracy,
            "Macro-F1": figures.macro_f1,
            "Balanced accuracy": figures.balanced_accuracy,
        }
        shares |= {"Calibration error": figures.ece}
        words = {title: percent(share) for title, share in shares.items()}
        rows.append({"Model": card.model_id, "n": f"{figures.n:,}", **words})
    own = [card for card in cards if not card.synthetic and not card.external]
    for name in dict.fromkeys(card.recipe.name for card in own):
        if name in STUDY_ACCURACY:
            rows.append(
                {
                    "Model": f"{name} (study)",
                    "n": "3,175",
                    "Accuracy": f"{STUDY_ACCURACY[name] * 100:g} %",
                }
            )
    columns = {title: [row.get(title, "-") for row in rows] for title in rows[0]}
    st.dataframe(
        columns,
        hide_index=True,
        height="content",
        alt="The models' figures on test with 95 % intervals, and the study's",
    )
    if len(rows) > len(cards):
        st.caption(
            "95 % intervals in brackets. Rows marked (study) hold what the study published, from other test pictures, split at "
            "random, without intervals. They say what to expect, not which is better."
        )
    else:
        st.caption("95 % intervals in brackets.")


def paired_tests(cards: Sequence[ModelCard]) -> bool:
    """Say of every pair which one makes fewer errors, and whether chance explains it; return whether all have the same samples."""
    try:
        compared = numbers.comparison(cards, False)
    except ConfigError as error:
        show_error(str(error))
        shared = _on_shared_samples(cards)
        if shared is None or not st.toggle(
            f"Compare on the {shared.n:,} test pictures that all of them share", key="intersect"
        ):
            return False
        compared = shared
    # The pairs of the first model are the question that was asked; the others stand behind.
    st.markdown(
        "\n".join(
            f"- {literal(pair.sentence)}." for pair in compared.pairs if pair.a == cards[0].model_id
        )
    )
    with st.expander(
        "All pairs, with macro-F1 and the AUROC of each class", icon=":material/balance:"
    ):
        _pairs_table(compared)
        content = json.dumps(asdict(compared), indent=2, ensure_ascii=False)
        st.download_button(
            "All tests (JSON)",
            content,
            "comparison.json",
            on_click="ignore",
            icon=":material/download:",
        )
    notes = "".join(f" {literal(note[:1].upper() + note[1:])}." for note in compared.notes)
    st.caption(
        f"McNemar's test (mid-p) on the same {compared.n:,} test pictures, corrected for {len(compared.pairs)} "
        f"{'pair' if len(compared.pairs) == 1 else 'pairs'} by Holm.{notes}"
    )
    return not any(compared.dropped.values())


def _on_shared_samples(cards: Sequence[ModelCard]) -> Comparison | None:
    """Compare on what all have; None where that cannot be done either: other classes, other labels, nothing shared."""
    try:
        return numbers.comparison(cards, True)
    except ConfigError:
        return None


def _pairs_table(compared: Comparison) -> None:
    """Show every pair's differences in points, the first model less the second, with Holm's p values."""
    columns: dict[str, list[str]] = {
        "First": [pair.a for pair in compared.pairs],
        "Second": [pair.b for pair in compared.pairs],
        "Accuracy": [_difference(pair.accuracy_difference, pair.p_holm) for pair in compared.pairs],
        "Macro-F1": [
            _difference(pair.macro_f1_difference, pair.macro_f1_p_holm) for pair in compared.pairs
        ],
    }
    for name in compared.class_names:
        found = [pair.auroc.get(name) for pair in compared.pairs]
        columns[f"AUROC {display_name(name)}"] = [
            _difference(x.difference, x.p_holm) if x else "-" for x in found
        ]
    st.dataframe(
        columns,
        hide_index=True,
        alt="Differences of every pair of models with 95 % intervals and corrected p values",
    )
    st.caption(
        "Percentage points, the first model less the second. 95 % intervals, not corrected: paired bootstrap for accuracy and "
        "macro-F1, DeLong for AUROC. p, corrected by Holm over all pairs, for AUROC also over classes: McNemar, bootstrap, DeLong."
    )


def _difference(difference: Interval, p: float | None) -> str:
    return points(difference) if p is None else f"{points(difference)}, {p_value(p)}"


def matrices(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Show the confusion matrices on one scale, and the difference between two."""
    tables = {card.model_id: numbers.evaluation(card).figures.confusion_matrix for card in cards}
    names = cards[0].class_names
    st.plotly_chart(
        confusion_grid(tables, names, ink()),
        config=chart("confusion-matrices"),
        key="grid",
        alt="Confusion matrices side by side, % of the truth",
    )
    left, right = st.columns([2, 3], gap="medium")
    with left:
        a, b = choose_pair(cards, "difference")
        st.caption(
            "What the second model calls more often than the first is orange, less often blue."
        )
    figure = difference_figure(
        tables[a.model_id], tables[b.model_id], a.model_id, b.model_id, names, ink()
    )
    right.plotly_chart(
        figure,
        config=chart("difference"),
        key="difference matrix",
        alt=f"{b.model_id} minus {a.model_id}, points of the truth",
    )


def curves(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Lay the models' curves for one class over one another."""
    k = choose_class(cards[0], "curves class")
    draw_curves(
        [
            (card.model_id, card, k, colour)
            for card, colour in zip(cards, MODEL_COLOURS, strict=False)
        ]
    )


def learning(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Lay the learning curves over one another."""
    histories = {card.model_id: card.learning_curve for card in cards}
    if not any(histories.values()):
        st.info("None of these models was stored with its learning curves.")
        return
    measures: tuple[Measure, Measure] = ("accuracy", "macro_f1")
    for place, measure in zip(st.columns(2, gap="medium"), measures, strict=True):
        figure = learning_figure(histories, measure, ink())
        place.plotly_chart(
            figure,
            config=chart(f"learning-{measure}"),
            key=f"all {measure}",
            alt=f"Validation {measure} by epoch",
        )


def choose_pair(cards: Sequence[ModelCard], key: str) -> tuple[ModelCard, ModelCard]:
    """Let the reader choose two of the models."""
    of = {card.model_id: card for card in cards}
    a = st.selectbox("First model", list(of), 1, key=f"{key} a")
    others = [name for name in of if name != a]
    return of[a], of[st.selectbox("Second model", others, key=f"{key} b")]


def disagreements(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Show the pictures on which two models part."""
    first, second = st.columns([1, 2], gap="medium")
    with first:
        a, b = choose_pair(cards, "part")
    part, other = numbers.test_predictions(a), numbers.test_predictions(b)
    place = numbers.rows(b)
    order = np.array([place[sample] for sample in part.samples])
    truth = part.y_true
    right_a, right_b = part.y_pred == truth, other.y_pred[order] == truth
    gap = np.abs(part.y_score[np.arange(len(truth)), truth] - other.y_score[order, truth])
    found = {
        kind: np.flatnonzero((right_a == kind[0]) & (right_b == kind[1]))
        for kind in ((True, False), (False, True), (False, False))
    }
    titles = {
        (True, False): f"{a.model_id} right, {b.model_id} wrong",
        (False, True): f"{b.model_id} right, {a.model_id} wrong",
        (False, False): "Both wrong",
    }
    with second:
        kind = st.radio(
            "Pictures",
            list(titles),
            format_func=lambda k: f"{literal(titles[k])} ({len(found[k]):,})",
            key="kind",
        )
    widest_first = found[kind][np.argsort(-gap[found[kind]], kind="stable")]
    samples = [part.samples[i] for i in widest_first]
    gallery([a, b], samples, dataset, f"{a.model_id} {b.model_id} {kind}")


def one_picture(cards: Sequence[ModelCard], dataset: Dataset | None) -> None:
    """Send one picture through all models: probabilities and heat maps side by side."""
    if not accepted():
        return
    left, right = st.columns(2, gap="medium")
    file = left.file_uploader(
        "A radiograph (PNG, JPEG, TIFF or DICOM)", type=SUFFIXES, key="one file"
    )
    samples = list(numbers.test_predictions(cards[0]).samples) if dataset else []
    hint = "Choose a picture" if samples else "Name the dataset in the sidebar"
    sample = right.selectbox(
        "Or one of the test set",
        samples,
        None,
        key="one sample",
        placeholder=hint,
        disabled=not samples,
    )
    if file is not None:
        picture = Picture.of(file.name, file.getvalue())
    elif sample and dataset:
        picture = read_sample(dataset, sample)
    else:
        return
    with st.spinner("Reading…", show_time=True):
        cases = {card.model_id: judge(card, picture) for card in cards}
    first = cases[cards[0].model_id]
    if not isinstance(first, Case):
        show_error(str(first))
        return
    names = list(cards[0].class_names)
    shown = [
        case.prediction
        for case in cases.values()
        if isinstance(case, Case) and not case.prediction.refusals
    ]
    calls = [prediction.predicted for prediction in shown]
    commonest = max(names, key=calls.count)
    with right:
        place, other = st.columns(2)
        target = place.selectbox(
            "Explain",
            names,
            names.index(commonest),
            display_name,
            key=f"explain all {picture.sha256}",
        )
        method = other.selectbox(
            "Method",
            list(METHOD_TITLES),
            format_func=lambda name: METHOD_TITLES[name],
            key="method of all",
        )
        st.image(
            first.image,
            caption=literal(picture.name),
            width=240,
            output_format="PNG",
            alt=picture.name,
        )
    with left:
        for warning in first.warnings:
            st.warning(literal(warning))
    found = lungs_of(picture)
    for place, card in zip(st.columns(len(cards)), cards, strict=True):
        case = cases[card.model_id]
        if not isinstance(case, Case):
            with place:
                show_error(str(case))
            continue
        with place:
            st.markdown(f"**{literal(card.model_id)}**")
            if refused(card, picture, case):
                continue
            st.markdown(literal(verdict(case.prediction)))
            attribution = explain(card, picture, target, method)
            overlay = heat_overlay(case.image, attribution.heat, 0.6)
            st.image(
                overlay,
                caption=heat_caption(attribution),
                width="stretch",
                alt=f"Heat map of {card.model_id} for {display_name(target)}",
            )
            if found is not None:
                st.caption(
                    literal(
                        map_sentence(
                            map_facts(attribution.heat, resize_mask(found, len(attribution.heat)))
                        )
                    )
                )
            figure = probability_bars(case.prediction.probabilities, ink(), case.stability.ranges)
            st.plotly_chart(
                figure,
                config={"displayModeBar": False},
                key=f"bars {card.model_id}",
                alt=verdict(case.prediction),
            )
    st.caption(
        "All maps use one colour scale, from no weight (dark) to the most in that model's own map (pale yellow): they show where "
        "each looked, not how much it found."
    )


SECTIONS: dict[str, Callable[[Sequence[ModelCard], Dataset | None], None]] = {
    "Confusion matrices": matrices,
    "Curves": curves,
    "Training": learning,
    "Disagreements": disagreements,
    "One X-ray through all": one_picture,
}
