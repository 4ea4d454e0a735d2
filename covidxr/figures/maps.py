"""Charts of heat maps put to the test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from covidxr.cards import CascadeStep
from covidxr.figures.style import MODEL_COLOURS, NEUTRAL, axis, check_shares, drawn, percent_axis


def removal_figure(
    map_curve: Sequence[float], noise_curve: Sequence[float], change: str, ink: str
) -> go.Figure:
    """Draw the probability of the class as pixels go or come, in the map's order and in that of noise.

    Both: (P,) probabilities in [0, 1], at evenly spaced shares of pixels from none to all.  change: `blackened`, for the axis.
    Raises ValueError for curves of different lengths or values outside [0, 1].
    """
    if len(map_curve) != len(noise_curve) or len(map_curve) < 2:
        raise ValueError(
            f"expected two curves of one length, got {len(map_curve)} and {len(noise_curve)} points"
        )
    x = np.linspace(0, 100, len(map_curve))
    traces = []
    for name, curve, colour, dash in (
        ("The map's order", map_curve, MODEL_COLOURS[0], "solid"),
        ("Order of smoothed noise", noise_curve, NEUTRAL, "dash"),
    ):
        y = np.asarray(curve, dtype=np.float64)
        check_shares(y, name)
        hover = f"{name}<br>%{{x:.0f}} % {change}: %{{y:.0f}} %<extra></extra>"
        line = {"color": colour, "width": 2.5, "dash": dash}
        traces.append(
            go.Scatter(x=x, y=y * 100, mode="lines", name=name, line=line, hovertemplate=hover)
        )
    figure = drawn(traces, ink, 260, 2, hovermode="closest")
    figure.update_xaxes(percent_axis(f"Pixels {change} (%)", ink))
    figure.update_yaxes(percent_axis("Probability of the class (%)", ink))
    return figure


def cascade_figure(steps: Sequence[CascadeStep], ink: str) -> go.Figure:
    """Draw how alike maps stay as a network's layers are made random one after the other, the head first.

    Raises ValueError when there are no steps.
    """
    if not steps:
        raise ValueError("expected one step at least, got none")
    x = ["none", *(step.layer for step in steps)]
    traces = []
    for name, values, colour, dash, symbol in (
        (
            "Rank correlation",
            [step.correlation for step in steps],
            MODEL_COLOURS[0],
            "solid",
            "circle",
        ),
        (
            "Structural similarity",
            [step.similarity for step in steps],
            MODEL_COLOURS[1],
            "dash",
            "square",
        ),
    ):
        hover = f"{name} when random down to %{{x}}: %{{y:.2f}}<extra></extra>"
        line, marker = {"color": colour, "width": 2.5, "dash": dash}, {"symbol": symbol, "size": 8}
        y = [1.0, *values]
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                mode="lines+markers",
                name=name,
                line=line,
                marker=marker,
                hovertemplate=hover,
                cliponaxis=False,
            )
        )
    figure = drawn(traces, ink, 260, 2, hovermode="closest")
    figure.update_xaxes(axis("Made random down to", ink, type="category", showgrid=False))
    low = min(0.0, *(value for step in steps for value in (step.correlation, step.similarity)))
    figure.update_yaxes(
        axis("Likeness to the map of the trained network", ink, range=[low - 0.05, 1.05])
    )
    return figure
