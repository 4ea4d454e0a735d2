"""Charts of class probabilities, calibration and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from covidxr.figures.style import (
    CLASS_COLORS,
    MODEL_COLORS,
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

_BINS = 40


def probability_bars(
    probabilities: Mapping[str, float], ink: str, ranges: Mapping[str, tuple[float, float]]
) -> go.Figure:
    """Draw one bar per class with a whisker over its range.

    Args:
        probabilities: By class, in [0, 1]; the first is on top.
        ink: Text color, `#RRGGBB`.
        ranges: By class, lowest and highest probability under test-time perturbation, in [0, 1].
    """
    names = list(probabilities)
    below, above = (
        [100 * abs(probabilities[name] - ranges[name][i]) for name in names] for i in (0, 1)
    )
    whiskers = {
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
        marker_color=[CLASS_COLORS.get(name, OTHER_CLASS) for name in names],
        orientation="h",
        error_x=whiskers,
        customdata=[[100 * low, 100 * high] for low, high in (ranges[name] for name in names)],
        hovertemplate=(
            "%{y}: %{x:.1f}%<br>Flipped and rotated: "
            "%{customdata[0]:.1f}–%{customdata[1]:.1f}%<extra></extra>"
        ),
    )
    # In a separate column, where no whisker crosses the text.
    texts = go.Scatter(
        x=[100] * len(names),
        y=[display_name(name) for name in names],
        text=[f" {whole_percent(probabilities[name])}" for name in names],
        mode="text",
        textposition="middle right",
        textfont_color=ink,
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure = go.Figure([bars, texts])
    figure.update_xaxes(
        title={"text": "Probability (%)", "font_color": ink},
        range=[0, 100],
        tickvals=[0, 50, 100],
        fixedrange=True,
    )
    figure.update_xaxes(tickfont_color=ink).update_yaxes(tickfont_color=ink)
    figure.update_yaxes(autorange="reversed", ticks="", fixedrange=True)
    # The right margin leaves room for the text of a bar that fills the axis.
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
    """Draw the reliability diagram of a class before and after temperature scaling.

    Args:
        before: Curve of the raw probabilities, drawn with its 95% intervals.
        after: Curve of the scaled probabilities, drawn with its 95% intervals.
        class_name: The class.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: The parts of a curve differ in length.
    """
    shown = display_name(class_name)
    traces = [diagonal("Perfect calibration")]
    for curve, name, color, symbol, dash in (
        (before, "Before temperature scaling", NEUTRAL, "square-open", "dot"),
        (
            after,
            "After temperature scaling",
            CLASS_COLORS.get(class_name, MODEL_COLORS[0]),
            "circle",
            "solid",
        ),
    ):
        if not len(curve.mean_score) == len(curve.observed) == len(curve.counts):
            parts = (len(curve.mean_score), len(curve.observed), len(curve.counts))
            raise ValueError(
                f"scores, observed proportions and counts must have one length, got {parts}"
            )
        hover = [
            f"{name}<br>mean predicted {100 * score:.1f}%<br>observed {percent(observed, n)}"
            for score, observed, n in zip(
                curve.mean_score, curve.observed, curve.counts, strict=True
            )
        ]
        bars = {
            "type": "data",
            "array": [100 * (one.high - one.estimate) for one in curve.observed],
            "arrayminus": [100 * (one.estimate - one.low) for one in curve.observed],
            "thickness": 1.5,
            "width": 4,
        }
        traces.append(
            go.Scatter(
                x=[100 * score for score in curve.mean_score],
                y=[100 * one.estimate for one in curve.observed],
                error_y=bars,
                mode="lines+markers",
                marker={"symbol": symbol, "size": 9},
                line={"color": color, "width": 1.5, "dash": dash},
                name=name,
                hovertext=hover,
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    figure = drawn(traces, ink, 360, 3, hovermode="closest")
    square(
        figure,
        ink,
        f"Predicted probability of {shown} (%)",
        f"Observed frequency of {shown} (%)",
        zooms=False,
    )
    return figure


def threshold_figure(
    positive: npt.NDArray[np.float64],
    negative: npt.NDArray[np.float64],
    threshold: float,
    class_name: str,
    ink: str,
) -> go.Figure:
    """Draw histograms of a class's probability for images with and without it, and a threshold.

    Args:
        positive: (P,) probabilities of images with the class, may be empty.
        negative: (N,) probabilities of all other images, may be empty.
        threshold: In [0, 1].
        class_name: The class.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: A value is outside [0, 1], or an array has another shape.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
    shown = display_name(class_name)
    edges = np.linspace(0, 100, _BINS + 1)
    traces = []
    for scores, group, color, pattern in (
        (negative, f"Without {shown}", NEUTRAL, "/"),
        (positive, f"With {shown}", CLASS_COLORS.get(class_name, MODEL_COLORS[0]), ""),
    ):
        check_shares(scores, "probabilities")
        counts = np.histogram(100 * np.clip(scores, 0, 1), edges)[0]
        shares = 100 * counts / max(1, len(scores))
        whole = f"{count(len(scores))} {group[0].lower()}{group[1:]}"
        hover = [
            f"{share:.1f}% of {whole}<br>probability {low:g}–{high:g}%"
            for share, low, high in zip(shares, edges, edges[1:], strict=False)
        ]
        look = {"shape": pattern, "size": 5, "solidity": 0.2, "fillmode": "overlay"}
        traces.append(
            go.Bar(
                x=(edges[:-1] + edges[1:]) / 2,
                y=shares,
                width=100 / _BINS,
                name=f"{group}, n = {len(scores):,}",
                marker={"color": color, "opacity": 0.7, "line": {"width": 0}, "pattern": look},
                hovertext=hover,
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    figure = drawn(traces, ink, 280, 2, barmode="overlay", hovermode="closest")
    figure.update_layout(margin={"t": 28})
    figure.update_xaxes(percent_axis(f"Predicted probability of {shown} (%)", ink, showgrid=False))
    figure.update_yaxes(axis("Images in the group (%)", ink, rangemode="tozero"))
    figure.add_vline(
        x=100 * threshold,
        line={"color": ink, "width": 2},
        annotation={
            "text": f"Threshold {100 * threshold:.3g}%",
            "font": {"color": ink, "size": 13},
            "y": 1,
            "yanchor": "bottom",
            # Toward the middle, where there is space.
            "xanchor": "left" if threshold <= 0.5 else "right",
        },
    )
    return figure
