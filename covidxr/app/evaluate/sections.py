"""The sections of Evaluate: one aspect of one model each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st

from covidxr.app import numbers
from covidxr.app.curves import choose_class, draw_curves
from covidxr.app.evaluate.maps import heat_maps
from covidxr.app.frame import literal
from covidxr.app.widgets import chart, ink
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.figures import (
    CLASS_COLOURS,
    OTHER_CLASS,
    Measure,
    learning_figure,
    reliability_figure,
    threshold_figure,
)
from covidxr.formatting import percent
from covidxr.records import Interval, display_name
from covidxr.reports.model_card import shortcut_sentences

_RULES = {
    "youden": "Balanced (Youden)",
    "sensitivity": "Sensitivity of 95 % or more",
    "ppv": "PPV of 80 % or more",
}
_HELP = {
    "Sensitivity": "Of the pictures with the class, the share that was called so.",
    "Specificity": "Of the pictures without the class, the share that was not called so.",
    "PPV": "Of the pictures called so, the share that has the class, in the test set's mix of classes.",
    "NPV": "Of the pictures not called so, the share that does not have the class, in the test set's mix of classes.",
    "F1": "Harmonic mean of sensitivity and PPV.",
    "AUROC": "Chance that a picture with the class gets a higher probability for it than one without; 50 % is a coin's.",
    "AUPRC": "PPV averaged over all sensitivities (average precision).",
}


def maybe(interval: Interval | None) -> str:
    """Write a share with its interval, or a dash where it is not defined."""
    return "-" if interval is None else percent(interval)


def by_class(card: ModelCard, dataset: Dataset | None) -> None:
    """Show each class against the rest."""
    classes = numbers.evaluation(card).figures.per_class
    columns: dict[str, Sequence[str | int]] = {
        "Class": [display_name(name) for name in classes],
        "n": [figures.support for figures in classes.values()],
        "Sensitivity": [maybe(figures.sensitivity) for figures in classes.values()],
        "Specificity": [maybe(figures.specificity) for figures in classes.values()],
        "PPV": [maybe(figures.ppv) for figures in classes.values()],
        "NPV": [maybe(figures.npv) for figures in classes.values()],
        "F1": [maybe(figures.f1) for figures in classes.values()],
        "AUROC": [maybe(figures.auroc) for figures in classes.values()],
        "AUPRC": [maybe(figures.auprc) for figures in classes.values()],
    }
    _table(columns, "Each class against the rest, with 95 % intervals")
    for name, figures in classes.items():
        if figures.note:
            st.caption(literal(f"{display_name(name)}: {figures.note}."))
    st.caption(
        "95 % intervals in brackets. PPV and NPV hold for the test set's mix of classes; see Threshold for another."
    )


def by_source(card: ModelCard, dataset: Dataset | None) -> None:
    """Show how the model fares on each source's pictures."""
    sources = numbers.evaluation(card).sources
    if not sources:
        st.info("The model's predictions do not say where its pictures came from.")
        return
    columns: dict[str, Sequence[str | int]] = {
        "Source": list(sources),
        "Pictures": [figures.n for figures in sources.values()],
        "Called right": [percent(figures.accuracy) for figures in sources.values()],
    }
    for name in card.class_names:
        columns[display_name(name)] = [
            f"{percent(figures.sensitivity[name])}, n = {figures.support[name]:,}"
            if name in figures.sensitivity
            else "-"
            for figures in sources.values()
        ]
    _table(columns, "Each source with the share of its pictures called right, in all and by class")
    st.caption(
        "Share called right, in all and of each class, with 95 % intervals. A dash: the source holds no pictures of the class."
    )


def curves(card: ModelCard, dataset: Dataset | None) -> None:
    """Show ROC and precision-recall curves of every class."""
    draw_curves(
        [
            (name, card, k, CLASS_COLOURS.get(name, OTHER_CLASS))
            for k, name in enumerate(card.class_names)
        ]
    )


def calibration(card: ModelCard, dataset: Dataset | None) -> None:
    """Show whether probabilities mean what they say, before and after temperature scaling."""
    result = numbers.evaluation(card)
    left, right = st.columns(2, gap="medium")
    with left:
        k = choose_class(card, "reliability class")
        after = {
            "nll": result.figures.nll,
            "brier": result.figures.brier,
            "ece": result.figures.ece,
        }
        names = {
            "nll": "Log loss (nats)",
            "brier": "Brier score (0 to 2)",
            "ece": "Calibration error",
        }
        rows = {
            "": list(names.values()),
            "Before": [_loss(key, result.uncalibrated[key]) for key in names],
            "After": [_loss(key, after[key]) for key in names],
        }
        _table(rows, "Calibration figures before and after temperature scaling")
        st.caption(
            f"Lower is better; 95 % intervals in brackets. The logits are divided by a temperature of {card.temperature:.2f}, "
            "fitted on the validation split; every probability on these pages is the one after."
        )
    before, scaled = numbers.reliability(card, k)
    name = card.class_names[k]
    alt = f"Reliability of the probability of {display_name(name)}: stated against observed, before and after"
    right.plotly_chart(
        reliability_figure(before, scaled, name, ink()),
        config=chart(f"{card.model_id}-reliability"),
        key="reliability",
        alt=alt,
    )


def threshold(card: ModelCard, dataset: Dataset | None) -> None:
    """Let the reader move a threshold and a prevalence, and see what it does on test."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        k = choose_class(card, "threshold class")
        name = card.class_names[k]
        points = {
            rule: p.threshold
            for rule, p in card.operating_points.get(name, {}).items()
            if p.threshold is not None
        }
        start = st.selectbox(
            "Begin at",
            ["half", *points],
            1 if points else 0,
            lambda rule: _RULES.get(rule, "50 %"),
            key="rule",
        )
        chosen = points.get(start, 0.5)
        cut = st.slider(
            "Threshold (%)", 0.0, 100.0, round(chosen * 100, 1), 0.1, key=f"cut {card.model_id} {name} {start}",
            help="A picture is called positive when its probability of the class is the threshold or more.",
        )  # fmt: skip
        share = float(np.mean(numbers.test_predictions(card).y_true == k) * 100)
        prevalence = st.number_input(
            "Prevalence where it is used (%)", 0.0, 100.0, round(share, 1), 1.0, key=f"prevalence {card.model_id} {name}",
            help=f"The share of patients who have the class. In the test set it is {share:.1f} %; a clinic has its own.",
        )  # fmt: skip
    # A slider left alone stands for the operating point itself, whose digits it cannot show.
    exact = chosen if cut == round(chosen * 100, 1) else cut / 100
    figures = numbers.at_threshold(card, k, exact)
    ppv, npv = numbers.at_prevalence(figures, prevalence / 100)
    with right:
        row = st.columns(4)
        for place, (title, figure) in zip(
            row,
            {
                "Sensitivity": figures.sensitivity,
                "Specificity": figures.specificity,
                "PPV": ppv,
                "NPV": npv,
            }.items(),
            strict=True,
        ):
            metric(
                place, title, figure, _HELP[title].replace(", in the test set's mix of classes", "")
            )
        part = numbers.test_predictions(card)
        score, truth = part.y_score[:, k], part.y_true == k
        alt = f"Probabilities of {display_name(name)} for pictures with and without it; threshold {exact:.1%}"
        figure = threshold_figure(score[truth], score[~truth], exact, name, ink())
        st.plotly_chart(
            figure, config=chart(f"{card.model_id}-threshold"), key="threshold", alt=alt
        )
    # One sentence escaped as a whole: the class is named by the card.
    st.caption(
        literal(
            f"Test split: {figures.positives:,} pictures of {display_name(name)}, {figures.negatives:,} others; {figures.called:,} "
            f"are called {display_name(name)} at this threshold. PPV and NPV at {prevalence:g} % prevalence, by Bayes' theorem."
        )
    )


def metric(
    place: st.delta_generator.DeltaGenerator,
    title: str,
    figure: Interval | None,
    explanation: str,
    share: bool = True,
) -> None:
    """Show one figure large, with its 95 % interval below; share: in percent."""
    written = "-" if figure is None else percent(figure) if share else _plain(figure)
    value, _, span = written.rstrip(")").partition(" (")
    place.metric(
        title,
        value,
        span or None,
        "off",
        help=f"{explanation} 95 % interval below.",
        delta_arrow="off",
    )


def training(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the learning curves."""
    if not card.learning_curve:
        st.info("This model was stored without its learning curves.")
        return
    measures: tuple[Measure, Measure] = ("loss", "accuracy")
    for place, measure in zip(st.columns(2, gap="medium"), measures, strict=True):
        figure = learning_figure({card.model_id: card.learning_curve}, measure, ink())
        place.plotly_chart(
            figure,
            config=chart(f"{card.model_id}-{measure}"),
            key=f"learning {measure}",
            alt=f"{measure} by epoch, training and validation",
        )
    st.caption(
        literal(
            f"Epoch {card.best_epoch} is the model: the best macro-F1 on validation. It began with {card.init}."
        )
    )


def shortcuts(card: ModelCard, dataset: Dataset | None) -> None:
    """Say in plain words whether where a picture is from could explain the figures."""
    if card.external:
        st.info(
            "The shortcut audit was made on the model's own test pictures: choose them under “Judged on”."
        )
        return
    if not card.shortcuts:
        st.info("No shortcut audit is stored with this model; train it again to get one.")
        return
    st.markdown("\n".join(f"- {literal(sentence)}" for sentence in shortcut_sentences(card)))
    st.caption(
        "All on the test split, with 95 % intervals. A model can score well by knowing where a picture is from: only within one "
        "source is that of no help."
    )


def _loss(key: str, interval: Interval) -> str:
    return percent(interval) if key == "ece" else _plain(interval)


def _plain(interval: Interval) -> str:
    return f"{interval.estimate:.2f} ({interval.low:.2f}-{interval.high:.2f})"


def _table(columns: Mapping[str, Sequence[str | int]], alt: str) -> None:
    config = {
        name: st.column_config.Column(help=text, width=116)
        for name, text in _HELP.items()
        if name in columns
    }
    config |= {
        "Class": st.column_config.Column(width=112),
        "n": st.column_config.NumberColumn(width=50),
    }
    st.dataframe(dict(columns), hide_index=True, column_config=config, alt=alt)


SECTIONS: dict[str, Callable[[ModelCard, Dataset | None], None]] = {
    "By class": by_class,
    "By source": by_source,
    "Curves": curves,
    "Calibration": calibration,
    "Threshold": threshold,
    "Training": training,
    "Shortcuts": shortcuts,
    "Heat maps": heat_maps,
}
