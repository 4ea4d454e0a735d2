"""Calibration and decision threshold of one model on its test set."""

from __future__ import annotations

import numpy as np
import streamlit as st

from covidxr.app import numbers
from covidxr.app.curves import choose_class
from covidxr.app.evaluate.metrics import DEFINITIONS, show_metric, table
from covidxr.app.frame import literal
from covidxr.app.widgets import chart, ink
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.figures import reliability_figure, threshold_figure
from covidxr.formatting import count, decimal, percent
from covidxr.records import display_name

_LOSSES = {
    "nll": "Log loss (nats)",
    "brier": "Brier score (0 to 2)",
    "ece": "Expected calibration error",
}
_RULES = {
    "half": "Default (50%)",
    "youden": "Youden index",
    "sensitivity": "Sensitivity of at least 95%",
    "ppv": "PPV of at least 80%",
}


def calibration(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the calibration before and after temperature scaling."""
    result = numbers.evaluation(card)
    left, right = st.columns(2, gap="medium")
    with left:
        k = choose_class(card, "reliability class")
        before, after = result.uncalibrated, result.figures
        rows = {
            "": list(_LOSSES.values()),
            "Before": [decimal(before[key], brief=True) for key in _LOSSES],
            "After": [decimal(getattr(after, key), brief=True) for key in _LOSSES],
        }
        table(rows, "Calibration before and after temperature scaling")
        st.caption(
            "Before and after temperature scaling; lower is better, 95% CI in parentheses. "
            f"Temperature {card.temperature:.2f}, fitted on the validation set. All displayed "
            "probabilities are calibrated."
        )
    raw, scaled = numbers.reliability(card, k)
    name = card.class_names[k]
    right.plotly_chart(
        reliability_figure(raw, scaled, name, ink()),
        config=chart(f"{card.model_id}-reliability"),
        key="reliability",
        alt=f"Reliability diagram for {display_name(name)}, before and after temperature scaling",
    )


def threshold(card: ModelCard, dataset: Dataset | None) -> None:
    """Let the user set a threshold and a prevalence, and show the metrics at these."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        k = choose_class(card, "threshold class")
        cut = _choose_threshold(card, card.class_names[k])
        prevalence = _choose_prevalence(card, k)
    metrics = numbers.at_threshold(card, k, cut)
    ppv, npv = numbers.at_prevalence(metrics, prevalence / 100)
    name = display_name(card.class_names[k])
    with right:
        shown = {
            "Sensitivity": (metrics.sensitivity, DEFINITIONS["Sensitivity"]),
            "Specificity": (metrics.specificity, DEFINITIONS["Specificity"]),
            "PPV": (ppv, "Positive predictive value at the target prevalence."),
            "NPV": (npv, "Negative predictive value at the target prevalence."),
        }
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            for title, (interval, text) in shown.items():
                show_metric(title, percent(interval), text)
        part = numbers.test_predictions(card)
        score, positive = part.y_score[:, k], part.y_true == k
        st.plotly_chart(
            threshold_figure(score[positive], score[~positive], cut, card.class_names[k], ink()),
            config=chart(f"{card.model_id}-threshold"),
            key="threshold",
            alt=f"Predicted probability of {name} for images with and without it; "
            f"threshold {cut:.1%}",
        )
    # Escaped as a whole: the class names are the card's.
    st.caption(
        literal(
            f"Test set: {count(metrics.positives)} of {name}, {metrics.negatives:,} others; "
            f"{metrics.called:,} predicted positive at this threshold. PPV and NPV at a "
            f"prevalence of {prevalence:g}%, by Bayes' theorem."
        )
    )


def _choose_threshold(card: ModelCard, name: str) -> float:
    points = {"half": 0.5} | {
        rule: point.threshold
        for rule, point in card.operating_points.get(name, {}).items()
        if point.threshold is not None
    }
    rule = st.selectbox(
        "Operating point",
        list(points),
        min(1, len(points) - 1),
        _RULES.__getitem__,
        key="rule",
        help="Thresholds chosen on the validation set.",
    )
    start = round(points[rule] * 100, 1)
    cut = st.slider(
        "Threshold (%)",
        0.0,
        100.0,
        start,
        0.1,
        format="%.1f",
        key=f"cut {card.model_id} {name} {rule}",
        help="An image is positive if its probability of the class is at least the threshold.",
    )
    # Until it is moved, the slider stands for the operating point itself, of which it rounds.
    return points[rule] if cut == start else cut / 100


def _choose_prevalence(card: ModelCard, k: int) -> float:
    """Let the user enter a prevalence; return it in percent."""
    share = float(np.mean(numbers.test_predictions(card).y_true == k) * 100)
    return st.number_input(
        "Target prevalence (%)",
        0.0,
        100.0,
        round(share, 1),
        1.0,
        format="%.1f",
        key=f"prevalence {card.model_id} {card.class_names[k]}",
        help="Proportion of patients who have the class where the model is used. "
        f"Test set: {share:.1f}%.",
    )
