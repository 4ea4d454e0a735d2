"""Charts of the validation of heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from covidxr.cards import CascadeStep
from covidxr.figures.style import MODEL_COLORS, NEUTRAL, axis, check_shares, drawn, percent_axis


def removal_figure(
    map_curve: Sequence[float], noise_curve: Sequence[float], change: str, ink: str
) -> go.Figure:
    """Draw deletion or insertion curves in the order of a heat map and of noise.

    Args:
        map_curve: (P,) probabilities in [0, 1], at evenly spaced proportions of pixels, 0 to 1.
        noise_curve: The same in the order of smoothed noise.
        change: What happens to the pixels, such as `blackened`, for the axis.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: The lengths differ, or a value is outside [0, 1].
    """
    if len(map_curve) != len(noise_curve) or len(map_curve) < 2:
        raise ValueError(
            "expected two curves of one length, 2 points or more, "
            f"got {len(map_curve)} and {len(noise_curve)} points"
        )
    x = np.linspace(0, 100, len(map_curve))
    traces = []
    for name, curve, color, dash in (
        ("Heat-map order", map_curve, MODEL_COLORS[0], "solid"),
        ("Smoothed-noise order", noise_curve, NEUTRAL, "dash"),
    ):
        y = np.asarray(curve, dtype=np.float64)
        check_shares(y, name)
        hover = f"{name}<br>%{{x:.0f}}% {change}: probability %{{y:.0f}}%<extra></extra>"
        line = {"color": color, "width": 2.5, "dash": dash}
        traces.append(
            go.Scatter(x=x, y=y * 100, mode="lines", name=name, line=line, hovertemplate=hover)
        )
    figure = drawn(traces, ink, 260, 2, hovermode="closest")
    figure.update_xaxes(percent_axis(f"Pixels {change} (%)", ink))
    figure.update_yaxes(percent_axis("Probability of the class (%)", ink))
    return figure


def cascade_figure(steps: Sequence[CascadeStep], ink: str) -> go.Figure:
    """Draw the similarity of heat maps as layers are randomized one after the other, head first.

    Args:
        steps: One per randomized layer.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: There are no steps.
    """
    if not steps:
        raise ValueError("at least one step is required, got none")
    x = ["none", *(step.layer for step in steps)]
    traces = []
    for name, values, color, dash, symbol in (
        (
            "Rank correlation",
            [step.correlation for step in steps],
            MODEL_COLORS[0],
            "solid",
            "circle",
        ),
        (
            "Structural similarity",
            [step.similarity for step in steps],
            MODEL_COLORS[1],
            "dash",
            "square",
        ),
    ):
        hover = f"{name}, randomized through %{{x}}: %{{y:.2f}}<extra></extra>"
        line, marker = {"color": color, "width": 2.5, "dash": dash}, {"symbol": symbol, "size": 8}
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
    figure.update_xaxes(axis("Randomized through", ink, type="category", showgrid=False))
    low = min(0.0, *(value for step in steps for value in (step.correlation, step.similarity)))
    figure.update_yaxes(axis("Similarity to original map", ink, range=[low - 0.05, 1.05]))
    return figure
