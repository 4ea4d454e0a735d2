"""Performance of several models on the same test set, with paired tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import streamlit as st

from covidxr.app import numbers
from covidxr.app.frame import literal, show_error
from covidxr.cards import ModelCard
from covidxr.errors import ConfigError
from covidxr.formatting import NO_VALUE, count, decimal_difference, p_value, percent, points
from covidxr.metrics.comparison import Comparison
from covidxr.models.recipes import STUDY_ACCURACY
from covidxr.records import display_name


def metrics_table(cards: Sequence[ModelCard]) -> None:
    """Show the models' metrics, and the published accuracy of the same recipes."""
    rows = []
    for card in cards:
        metrics = numbers.evaluation(card).figures
        proportions = {
            "Accuracy": metrics.accuracy,
            "Macro-F1": metrics.macro_f1,
            "Balanced accuracy": metrics.balanced_accuracy,
            "Calibration error (ECE)": metrics.ece,
        }
        row = {"Model": card.model_id, "n": f"{metrics.n:,}"}
        rows.append(row | {name: percent(p, brief=True) for name, p in proportions.items()})
    own = [card.recipe.name for card in cards if not card.synthetic and not card.external]
    published = [name for name in dict.fromkeys(own) if name in STUDY_ACCURACY]
    rows += [
        {
            "Model": f"{name} (baseline study)",
            "n": "3,175",
            "Accuracy": f"{STUDY_ACCURACY[name] * 100:g}%",
        }
        for name in published
    ]
    st.dataframe(
        {title: [row.get(title, NO_VALUE) for row in rows] for title in rows[0]},
        hide_index=True,
        height="content",
        alt="Test metrics of the models with 95% CI, and published results",
    )
    caption = "95% CI in parentheses."
    if published:
        caption += (
            " Baseline study: published results on other test images, random split, no CI; for "
            "orientation only, not comparable."
        )
    st.caption(caption)


def paired_tests(cards: Sequence[ModelCard]) -> bool:
    """Show which model of each pair makes fewer errors, and whether that is significant.

    Returns:
        Whether all models have the same test samples.
    """
    try:
        compared = numbers.comparison(cards, False)
    except ConfigError as error:
        show_error(str(error))
        shared = _on_shared_samples(cards)
        if shared is None or not st.toggle(
            f"Compare on the {count(shared.n, 'test image')} that all models share",
            key="intersect",
        ):
            return False
        compared = shared
    # Pairs with the first model; the others are in the table of all pairs.
    sentences = [pair.sentence for pair in compared.pairs if pair.a == cards[0].model_id]
    st.markdown("\n".join(f"- {literal(sentence)}." for sentence in sentences))
    with st.expander("Pairwise tests", icon=":material/balance:"):
        _pairs_table(compared)
        st.download_button(
            "Download (JSON)",
            json.dumps(asdict(compared), indent=2, ensure_ascii=False),
            "comparison.json",
            on_click="ignore",
            icon=":material/download:",
        )
    notes = "".join(f" {literal(note[:1].upper() + note[1:])}." for note in compared.notes)
    st.caption(
        f"McNemar's test (mid-p) on the same {count(compared.n, 'test image')}; Holm correction "
        f"for {count(len(compared.pairs), 'pair')}.{notes}"
    )
    return not any(compared.dropped.values())


def _on_shared_samples(cards: Sequence[ModelCard]) -> Comparison | None:
    """Compare on the shared samples; None for other classes, other labels or nothing shared."""
    try:
        return numbers.comparison(cards, True)
    except ConfigError:
        return None


def _pairs_table(compared: Comparison) -> None:
    columns: dict[str, list[str]] = {
        "First": [pair.a for pair in compared.pairs],
        "Second": [pair.b for pair in compared.pairs],
        "Accuracy": [
            _with_p(points(pair.accuracy_difference, brief=True), pair.p_holm)
            for pair in compared.pairs
        ],
        "Macro-F1": [
            _with_p(points(pair.macro_f1_difference, brief=True), pair.macro_f1_p_holm)
            for pair in compared.pairs
        ],
    }
    for name in compared.class_names:
        found = [pair.auroc.get(name) for pair in compared.pairs]
        columns[f"AUROC {display_name(name)}"] = [
            _with_p(decimal_difference(x.difference), x.p_holm) if x else NO_VALUE for x in found
        ]
    st.dataframe(
        columns,
        hide_index=True,
        alt="Differences between all pairs of models with 95% CI and corrected p values",
    )
    st.caption(
        "Difference, first minus second; accuracy and macro-F1 in percentage points. 95% CI, not "
        "corrected: paired bootstrap for accuracy and macro-F1, DeLong for AUROC. p values "
        "(McNemar, bootstrap, DeLong): Holm correction over all pairs, for AUROC also over "
        "classes."
    )


def _with_p(difference: str, p: float | None) -> str:
    return difference if p is None else f"{difference}, {p_value(p)}"
