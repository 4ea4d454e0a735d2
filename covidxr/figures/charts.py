"""Probabilities, calibration, learning and thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from covidxr.cards import EpochFigures
from covidxr.figures.style import (
    CLASS_COLOURS,
    MODEL_COLOURS,
    MODEL_DASHES,
    NEUTRAL,
    OTHER_CLASS,
    axis,
    check_shares,
    diagonal,
    drawn,
    percent_axis,
    square,
)
from covidxr.formatting import count, percent, whole_percent
from covidxr.records import display_name

if TYPE_CHECKING:
    from covidxr.metrics.calibration import ReliabilityCurve

Measure = Literal["loss", "accuracy", "macro_f1"]
_MEASURES = {"loss": "Loss", "accuracy": "Accuracy (%)", "macro_f1": "Macro-F1 (%)"}
_BINS = 40


def probability_bars(
    probabilities: Mapping[str, float], ink: str, ranges: Mapping[str, tuple[float, float]]
) -> go.Figure:
    """Draw one bar a class, the first on top, with a line over its range; all lie in [0, 1], `ink` colours the text."""
    names = list(probabilities)
    below, above = (
        [100 * abs(probabilities[name] - ranges[name][i]) for name in names] for i in (0, 1)
    )
    whole = {
        "type": "data",
        "symmetric": False,
        "arrayminus": below,
        "array": above,
        "color": ink,
        "thickness": 1.5,
        "width": 4,
    }
    bars = go.Bar(
        x=[probabilities[name] * 100 for name in names],
        y=[display_name(name) for name in names],
        marker_color=[CLASS_COLOURS.get(name, OTHER_CLASS) for name in names],
        orientation="h",
        error_x=whole,
        customdata=[[100 * low, 100 * high] for low, high in (ranges[name] for name in names)],
        hovertemplate="%{y}: %{x:.1f} %<br>%{customdata[0]:.1f} to %{customdata[1]:.1f} % mirrored and turned<extra></extra>",
    )
    # Figures stand in a column of their own, where no line crosses them.
    figures = go.Scatter(
        x=[100] * len(names),
        y=[display_name(name) for name in names],
        text=[f" {whole_percent(probabilities[name])}" for name in names],
        mode="text",
        textposition="middle right",
        textfont_color=ink,
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure = go.Figure([bars, figures])
    figure.update_xaxes(
        title={"text": "Probability (%)", "font_color": ink},
        range=[0, 100],
        tickvals=[0, 50, 100],
        fixedrange=True,
    )
    figure.update_xaxes(tickfont_color=ink).update_yaxes(tickfont_color=ink)
    figure.update_yaxes(autorange="reversed", ticks="", fixedrange=True)
    # The right margin holds the figure beside a bar that fills the axis.
    figure.update_layout(
        height=52 + 36 * len(names),
        margin={"l": 0, "r": 40, "t": 8, "b": 44},
        bargap=0.35,
        showlegend=False,
    )
    return figure


def reliability_figure(
    before: ReliabilityCurve, after: ReliabilityCurve, class_name: str, ink: str
) -> go.Figure:
    """Draw how often a class is there against how probable it was said to be, before and after temperature scaling.

    Bars are the 95 % intervals of the curves. Raises ValueError for a curve whose parts differ in length.
    """
    shown = display_name(class_name)
    traces = [diagonal("Ideal: what is said is what happens")]
    for curve, name, colour, symbol, dash in (
        (before, "Before temperature scaling", NEUTRAL, "square-open", "dot"),
        (
            after,
            "After temperature scaling",
            CLASS_COLOURS.get(class_name, MODEL_COLOURS[0]),
            "circle",
            "solid",
        ),
    ):
        if not len(curve.mean_score) == len(curve.observed) == len(curve.counts):
            parts = (len(curve.mean_score), len(curve.observed), len(curve.counts))
            raise ValueError(f"expected as many scores as observed shares and counts, got {parts}")
        says = [
            f"{name}:<br>{100 * score:.1f} % was said on average,<br>{percent(share)} were {shown}, n = {count:,}"
            for score, share, count in zip(
                curve.mean_score, curve.observed, curve.counts, strict=True
            )
        ]
        bars = {
            "type": "data",
            "array": [100 * (share.high - share.estimate) for share in curve.observed],
            "arrayminus": [100 * (share.estimate - share.low) for share in curve.observed],
            "thickness": 1.5,
            "width": 4,
        }
        traces.append(
            go.Scatter(
                x=[100 * score for score in curve.mean_score],
                y=[100 * share.estimate for share in curve.observed],
                error_y=bars,
                mode="lines+markers",
                marker={"symbol": symbol, "size": 9},
                line={"color": colour, "width": 1.5, "dash": dash},
                name=name,
                hovertext=says,
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    figure = drawn(traces, ink, 360, 3, hovermode="closest")
    square(
        figure,
        ink,
        f"Predicted probability of {shown} (%)",
        f"Pictures with {shown} (%)",
        zooms=False,
    )
    return figure


_MOST_MARKED = 30
"""Epochs up to which each is a marker; more would run into one another."""


def learning_figure(
    curves: Mapping[str, Sequence[EpochFigures]],
    measure: Measure,
    ink: str,
    steps: Sequence[tuple[float, float]] = (),
) -> go.Figure:
    """Draw a measure over the epochs: of one model on train and validation, of several on validation only.

    curves: model name -> its epochs, 1 to 5 models; one without epochs is left out and keeps its colour. Macro-F1 is known on
    validation only.  steps: (epochs done, training loss just then) of a run that is going on, for the loss of one.
    Raises ValueError for another measure, more models or nothing to draw at all.
    """
    if measure not in _MEASURES:
        raise ValueError(f"measure must be loss, accuracy or macro_f1, got {measure!r}")
    if not 1 <= len(curves) <= len(MODEL_COLOURS):
        raise ValueError(f"expected 1 to {len(MODEL_COLOURS)} models, got {len(curves)}")
    alone = len(curves) == 1
    if steps and (measure != "loss" or not alone):
        raise ValueError("steps are drawn with the loss of one model only")
    numbers = [point.epoch for epochs in curves.values() for point in epochs] + [
        math.ceil(place) for place, _ in steps
    ]
    if not numbers:
        raise ValueError("expected one epoch at least, got none")
    first, last = min(numbers), max(numbers)
    traces = []
    if steps:
        x, y = zip(*steps, strict=True)
        line = {"color": NEUTRAL, "width": 1}
        traces.append(
            go.Scatter(
                x=x, y=y, mode="lines", name="Training, as it goes", line=line, hoverinfo="skip"
            )
        )
    for (name, epochs), colour, dash in zip(
        curves.items(), MODEL_COLOURS, MODEL_DASHES, strict=False
    ):
        if not epochs:
            continue
        if alone and measure != "macro_f1":
            traces.append(
                _learning(epochs, f"train_{measure}", "Training", NEUTRAL, "dot", "square-open")
            )
        traces.append(
            _learning(
                epochs, f"val_{measure}", "Validation" if alone else name, colour, dash, "circle"
            )
        )
    figure = drawn(traces, ink, 260, len(traces), hovermode="closest")
    # Ten ticks at the most, on whole epochs; room on both sides makes a single one a point in the middle.
    step = -(-(last - first + 1) // 10)
    left = first - 1 if steps else first - 0.5
    figure.update_xaxes(
        axis(
            "Epoch",
            ink,
            range=[left, last + 0.5],
            tick0=first,
            dtick=step,
            tickformat="d",
            showgrid=False,
        )
    )
    figure.update_yaxes(
        axis(_MEASURES[measure], ink, rangemode="tozero" if measure == "loss" else "normal")
    )
    return figure


def threshold_figure(
    positive: npt.NDArray[np.float64],
    negative: npt.NDArray[np.float64],
    threshold: float,
    class_name: str,
    ink: str,
) -> go.Figure:
    """Draw how the probability of a class lies among the pictures with it and among all others, and the threshold.

    positive: (P,), negative: (N,), in [0, 1], either may be empty.  threshold: in [0, 1]. Raises ValueError for anything else.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
    shown = display_name(class_name)
    edges = np.linspace(0, 100, _BINS + 1)
    traces = []
    for scores, group, colour, pattern in (
        (negative, f"Without {shown}", NEUTRAL, "/"),
        (positive, f"With {shown}", CLASS_COLOURS.get(class_name, MODEL_COLOURS[0]), ""),
    ):
        check_shares(scores, "probabilities")
        counts = np.histogram(100 * np.clip(scores, 0, 1), edges)[0]
        shares = 100 * counts / max(1, len(scores))
        says = [
            f"{share:.1f} % of the {count(len(scores))} {group[0].lower()}{group[1:]}:<br>probability {low:g} to {high:g} %"
            for share, low, high in zip(shares, edges, edges[1:], strict=False)
        ]
        look = {"shape": pattern, "size": 5, "solidity": 0.2, "fillmode": "overlay"}
        traces.append(
            go.Bar(
                x=(edges[:-1] + edges[1:]) / 2,
                y=shares,
                width=100 / _BINS,
                name=f"{group}, n = {len(scores):,}",
                marker={"color": colour, "opacity": 0.7, "line": {"width": 0}, "pattern": look},
                hovertext=says,
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    figure = drawn(traces, ink, 280, 2, barmode="overlay", hovermode="closest")
    figure.update_layout(margin={"t": 28})
    figure.update_xaxes(percent_axis(f"Predicted probability of {shown} (%)", ink, showgrid=False))
    figure.update_yaxes(axis("Pictures of the group (%)", ink, rangemode="tozero"))
    figure.add_vline(
        x=100 * threshold,
        line={"color": ink, "width": 2},
        annotation={
            "text": f"Threshold {100 * threshold:.3g} %",
            "font": {"color": ink, "size": 13},
            "y": 1,
            "yanchor": "bottom",
            # Towards the middle, where there is room for it.
            "xanchor": "left" if threshold <= 0.5 else "right",
        },
    )
    return figure


def _learning(
    epochs: Sequence[EpochFigures], field: str, name: str, colour: str, dash: str, symbol: str
) -> go.Scatter:
    loss = field.endswith("loss")
    what = field.partition("_")[2].replace("macro_f1", "macro-F1")
    value = "%{y:.3f}" if loss else "%{y:.1f} %"
    return go.Scatter(
        x=[point.epoch for point in epochs],
        y=[getattr(point, field) * (1 if loss else 100) for point in epochs],
        mode="lines+markers" if len(epochs) <= _MOST_MARKED else "lines",
        name=name,
        line={"color": colour, "width": 2, "dash": dash},
        marker={"symbol": symbol, "size": 7},
        hovertemplate=f"{name}<br>epoch %{{x}}: {what} {value}<extra></extra>",
    )
