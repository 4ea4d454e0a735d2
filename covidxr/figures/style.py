"""What every chart shares: colours, the ground, the axes, and how a figure is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from covidxr.records import display_name

CLASS_COLOURS = {
    "Normal": "#56B4E9",
    "COVID": "#D55E00",
    "Viral Pneumonia": "#E69F00",
    "Lung_Opacity": "#CC79A7",
}
"""One colour a class everywhere, from the palette of Okabe and Ito, which colour-blind people can tell apart."""
OTHER_CLASS = "#999999"
MODEL_COLOURS = ("#4C8DFF", "#A58E0C", "#00897B", "#C2185B", "#8E1EF5")
"""One colour a model, by its position: at least 3:1 against both grounds, apart for colour-blind people and from the classes."""
MODEL_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
GROUNDS = ("#FCFCFB", "#0B0D0F")
"""Of the light and the dark theme, as in .streamlit/config.toml."""
NEUTRAL = "#858C94"
"""For what is there to compare with: chance, the ideal, the figures before."""

TICK, TITLE = 12, 13
"""Text sizes in pixels."""
LEGEND_ROW = 20
_GRID = "rgba(133, 140, 148, 0.25)"
_CLEAR = "rgba(0, 0, 0, 0)"

Colour = npt.NDArray[np.float64]
"""(3,) red, green and blue in 0..255."""


def two_lines(class_name: str) -> str:
    """Write a class over as many lines as it has words, for the ticks of narrow cells."""
    return display_name(class_name).replace(" ", "<br>")


def wrapped(name: str, width: int) -> str:
    """Break a model's name behind its hyphens into lines of at most `width` letters, where its parts allow it."""
    lines = [""]
    for part in name.replace("-", "-\n").split("\n"):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "<br>".join(lines)


def luminance(colour: Colour) -> float:
    """Relative luminance in [0, 1] as the WCAG defines it."""
    share = colour / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio in [1, 21] of the WCAG."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rgb(colour: str) -> Colour:
    """Read `#RRGGBB`."""
    return np.array(hex_to_rgb(colour), dtype=np.float64)


def mixed(stops: Sequence[str], position: float) -> Colour:
    """Colour at a position in [0, 1] of a scale of evenly spaced stops, as plotly draws it."""
    places = np.linspace(0, 1, len(stops))
    return np.array(
        [
            np.interp(position, places, channel)
            for channel in np.stack([rgb(stop) for stop in stops], axis=1)
        ]
    )


def axis(title: str, ink: str, **more: Any) -> dict[str, Any]:
    """Describe an axis in the colour of the text, with a faint grid, that does not zoom unless `more` says so."""
    return {
        "title": {"text": title, "font": {"color": ink, "size": TITLE}, "standoff": 8},
        "tickfont": {"color": ink, "size": TICK},
        # Streamlit's theme differs from plotly's here, so that nothing is left to either.
        "showgrid": True,
        "gridcolor": _GRID,
        "showline": False,
        "zeroline": False,
        "ticks": "",
        "fixedrange": True,
        **more,
    }


def percent_axis(title: str, ink: str, **more: Any) -> dict[str, Any]:
    """Describe an axis from 0 to 100 %; a little more is shown, lest a line on the edge be cut in half."""
    return axis(title, ink, range=[-1.5, 101.5], tickvals=[0, 20, 40, 60, 80, 100], **more)


def drawn(
    traces: Sequence[Any], ink: str, plot_height: int, legend_rows: int, **layout: Any
) -> go.Figure:
    """Lay traces on a clear ground, the legend in rows below the x axis where it covers nothing.

    plot_height: pixels from the upper edge to the title of the x axis; legend_rows: lines of the legend, 0 for none.
    """
    below = 52 + (LEGEND_ROW * legend_rows + 8 if legend_rows else 0)
    figure = go.Figure(list(traces))
    figure.update_layout(
        height=plot_height + below,
        margin={"l": 0, "r": 12, "t": 8, "b": below, "pad": 0},
        # The ground of the page, not none: a chart taken home keeps its text readable.
        paper_bgcolor=GROUNDS[luminance(rgb(ink)) > 0.5],
        plot_bgcolor=_CLEAR,
        font={"color": ink, "size": TICK},
        # Dark on either ground: it lies on the colours of the chart, not on the page.
        hoverlabel={
            "bgcolor": "#22272D",
            "bordercolor": "#59626B",
            "font": {"color": "#F2F4F5", "size": TITLE},
        },
        showlegend=legend_rows > 0,
        legend={
            "orientation": "v",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "font": {"color": ink, "size": TICK},
            "bgcolor": _CLEAR,
            "itemwidth": 40,
            "tracegroupgap": 0,
        },
    )
    figure.update_layout(layout)
    return figure


def diagonal(name: str) -> go.Scatter:
    """Draw the line from (0, 0) to (100, 100) % that curves are compared with."""
    line = {"color": NEUTRAL, "width": 1.5, "dash": "dash"}
    return go.Scatter(x=[0, 100], y=[0, 100], mode="lines", line=line, name=name, hoverinfo="skip")


def square(figure: go.Figure, ink: str, x: str, y: str, zooms: bool) -> None:
    """Give a figure two percent axes of one scale."""
    # To the left in a wide chart, over the legend.
    figure.update_xaxes(
        percent_axis(x, ink, fixedrange=not zooms, constrain="domain", constraintoward="left")
    )
    figure.update_yaxes(
        percent_axis(
            y, ink, fixedrange=not zooms, constrain="domain", constraintoward="top", scaleanchor="x"
        )
    )


def check_shares(values: npt.NDArray[np.float64], what: str) -> None:
    """Raise ValueError unless `values` are (P,) numbers in [0, 1]; `what` names them."""
    if values.ndim != 1:
        raise ValueError(f"expected {what} of shape (P,), got {values.shape}")
    # A softmax may add up to a hair more than 1.
    if not ((values >= -1e-9) & (values <= 1 + 1e-9)).all():
        raise ValueError(f"{what} must lie between 0 and 1")
