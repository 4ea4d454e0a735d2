"""Metrics of one model on its test set: overall, by class and by source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from covidxr.app import numbers
from covidxr.app.frame import literal
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.formatting import NO_VALUE, decimal, percent
from covidxr.records import Interval, display_name

HEADLINES = {
    "accuracy": ("Accuracy", "Proportion of test images that are classified correctly."),
    "macro_f1": (
        "Macro-F1",
        "F1, the harmonic mean of sensitivity and PPV; unweighted mean over the classes.",
    ),
    "balanced_accuracy": ("Balanced accuracy", "Sensitivity; unweighted mean over the classes."),
    "kappa": (
        "Cohen's kappa",
        "Chance-corrected agreement of predictions and reference labels: 0 is chance, 1 is "
        "perfect.",
    ),
    "mcc": (
        "MCC",
        "Matthews correlation coefficient of predictions and reference labels: 0 is chance, 1 is "
        "perfect.",
    ),
}
DEFINITIONS = {
    "Sensitivity": "TP / (TP + FN): proportion of the images of the class that are predicted so.",
    "Specificity": "TN / (TN + FP): proportion of all other images that are not predicted so.",
    "PPV": "TP / (TP + FP), at the test-set prevalence.",
    "NPV": "TN / (TN + FN), at the test-set prevalence.",
    "F1": "Harmonic mean of sensitivity and PPV.",
    "AUROC": "Area under the ROC curve, class vs. rest: 0.5 is chance, 1 is perfect.",
    "AUPRC": "Area under the precision-recall curve (average precision), class vs. rest.",
}


def headline(card: ModelCard) -> None:
    """Show the metrics over all classes."""
    metrics = numbers.evaluation(card).figures
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        for key, (title, explanation) in HEADLINES.items():
            write = decimal if key in ("kappa", "mcc") else percent
            show_metric(title, write(getattr(metrics, key)), explanation)


def show_metric(title: str, written: str, explanation: str) -> None:
    """Show a metric in large type, with its confidence interval below.

    Args:
        title: Its name.
        written: As `percent` or `decimal` write it.
        explanation: Its definition.
    """
    value, _, interval = written.rstrip(")").partition(" (")
    st.metric(
        title,
        value,
        interval or None,
        "off",
        help=explanation,
        delta_arrow="off",
        width="content",
    )


def table(columns: Mapping[str, Sequence[str | int]], alt: str) -> None:
    """Show metrics as a table, each column with its definition."""
    config = {
        name: st.column_config.Column(help=text, width=124 if name in ("AUROC", "AUPRC") else 114)
        for name, text in DEFINITIONS.items()
        if name in columns
    }
    config |= {
        "Class": st.column_config.Column(width=112),
        "n": st.column_config.NumberColumn(width=50, format="localized"),
        "Images": st.column_config.NumberColumn(format="localized"),
    }
    st.dataframe(dict(columns), hide_index=True, column_config=config, alt=alt)


def by_class(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the metrics of each class against the rest."""
    classes = numbers.evaluation(card).figures.per_class

    def written(interval: Interval | None) -> str:
        return percent(interval, brief=True)

    columns: dict[str, Sequence[str | int]] = {
        "Class": [display_name(name) for name in classes],
        "n": [one.support for one in classes.values()],
        "Sensitivity": [written(one.sensitivity) for one in classes.values()],
        "Specificity": [written(one.specificity) for one in classes.values()],
        "PPV": [written(one.ppv) for one in classes.values()],
        "NPV": [written(one.npv) for one in classes.values()],
        "F1": [written(one.f1) for one in classes.values()],
        "AUROC": [decimal(one.auroc, brief=True) for one in classes.values()],
        "AUPRC": [decimal(one.auprc, brief=True) for one in classes.values()],
    }
    table(columns, "Metrics of each class against the rest, with 95% CI")
    for name, one in classes.items():
        if one.note:
            st.caption(literal(f"{display_name(name)}: {one.note}."))
    st.caption(
        "95% CI in parentheses. PPV and NPV at the test-set prevalence; for another prevalence, "
        "see Threshold."
    )


def by_source(card: ModelCard, dataset: Dataset | None) -> None:
    """Show the accuracy and the sensitivity for each class on the images of each source."""
    sources = numbers.evaluation(card).sources
    if not sources:
        st.info("The predictions of this model contain no source information.")
        return
    columns: dict[str, Sequence[str | int]] = {
        "Source": list(sources),
        "Images": [one.n for one in sources.values()],
        "Accuracy": [percent(one.accuracy, brief=True) for one in sources.values()],
    }
    for name in card.class_names:
        columns[display_name(name)] = [
            percent(one.sensitivity[name], one.support[name], brief=True)
            if name in one.sensitivity
            else NO_VALUE
            for one in sources.values()
        ]
    table(columns, "Accuracy and sensitivity for each class, by source")
    st.caption(
        f"Accuracy, and sensitivity for each class; 95% CI in parentheses. “{NO_VALUE}”: no images."
    )
