"""Style shared by all charts: colors, background, axes and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from covidxr.records import display_name

CLASS_COLORS = {
    "Normal": "#56B4E9",
    "COVID": "#D55E00",
    "Viral Pneumonia": "#E69F00",
    "Lung_Opacity": "#CC79A7",
}
"""One color per class everywhere, from the color-blind-safe palette of Okabe and Ito."""
OTHER_CLASS = "#999999"
MODEL_COLORS = ("#4C8DFF", "#A58E0C", "#00897B", "#C2185B", "#8E1EF5")
"""One color per model by position: contrast 3:1 on both themes, color-blind safe, no class's."""
MODEL_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
GROUNDS = ("#FCFCFB", "#0B0D0F")
"""Background of the light and the dark theme, as in .streamlit/config.toml."""
NEUTRAL = "#858C94"
"""For references: chance level, perfect calibration, uncalibrated values."""

TICK, TITLE = 12, 13
"""Text sizes in pixels."""
LEGEND_ROW = 20
_GRID = "rgba(133, 140, 148, 0.25)"
_CLEAR = "rgba(0, 0, 0, 0)"

Color = npt.NDArray[np.float64]
"""(3,) red, green and blue in 0..255."""


def two_lines(class_name: str) -> str:
    """Format a class with one word per line, for the ticks of narrow cells."""
    return display_name(class_name).replace(" ", "<br>")


def wrapped(name: str, width: int) -> str:
    """Break a model's name after hyphens into lines of at most `width` characters if possible."""
    lines = [""]
    for part in name.replace("-", "-\n").split("\n"):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "<br>".join(lines)


def luminance(color: Color) -> float:
    """Return the relative luminance in [0, 1], as defined by the WCAG."""
    share = color / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(one: Color, other: Color) -> float:
    """Return the contrast ratio in [1, 21], as defined by the WCAG."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rgb(color: str) -> Color:
    """Read `#RRGGBB`."""
    return np.array(hex_to_rgb(color), dtype=np.float64)


def mixed(stops: Sequence[str], position: float) -> Color:
    """Return the color at a position in [0, 1] of a scale of evenly spaced stops, as in plotly."""
    places = np.linspace(0, 1, len(stops))
    return np.array(
        [
            np.interp(position, places, channel)
            for channel in np.stack([rgb(stop) for stop in stops], axis=1)
        ]
    )


def axis(title: str, ink: str, **more: Any) -> dict[str, Any]:
    """Describe an axis with a faint grid and no zoom; `more` overrides."""
    return {
        "title": {"text": title, "font": {"color": ink, "size": TITLE}, "standoff": 8},
        "tickfont": {"color": ink, "size": TICK},
        # Explicit, since the defaults of Streamlit's theme and of plotly differ.
        "showgrid": True,
        "gridcolor": _GRID,
        "showline": False,
        "zeroline": False,
        "ticks": "",
        "fixedrange": True,
        **more,
    }


def percent_axis(title: str, ink: str, **more: Any) -> dict[str, Any]:
    """Describe an axis from 0% to 100%, slightly wider so that no line at the edge is cut."""
    return axis(title, ink, range=[-1.5, 101.5], tickvals=[0, 20, 40, 60, 80, 100], **more)


def drawn(
    traces: Sequence[Any], ink: str, plot_height: int, legend_rows: int, **layout: Any
) -> go.Figure:
    """Create a figure in the shared style, with the legend below the x axis.

    Args:
        traces: Traces of plotly.
        ink: Text color, `#RRGGBB`.
        plot_height: Pixels from the upper edge to the title of the x axis.
        legend_rows: Number of legend entries, 0 for no legend.
        layout: More of the figure's layout; overrides the style.
    """
    below = 52 + (LEGEND_ROW * legend_rows + 8 if legend_rows else 0)
    figure = go.Figure(list(traces))
    figure.update_layout(
        height=plot_height + below,
        margin={"l": 0, "r": 12, "t": 8, "b": below, "pad": 0},
        # The page's background, not transparent: the text of a downloaded chart stays readable.
        paper_bgcolor=GROUNDS[luminance(rgb(ink)) > 0.5],
        plot_bgcolor=_CLEAR,
        font={"color": ink, "size": TICK},
        # Dark in both themes, since it covers the colors of the chart, not the page.
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
    """Draw the reference line from (0, 0) to (100, 100) in percent."""
    line = {"color": NEUTRAL, "width": 1.5, "dash": "dash"}
    return go.Scatter(x=[0, 100], y=[0, 100], mode="lines", line=line, name=name, hoverinfo="skip")


def square(figure: go.Figure, ink: str, x: str, y: str, zooms: bool) -> None:
    """Give a figure two percent axes of one scale."""
    # On the left of a wide chart, above the legend.
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
    # A softmax may exceed 1 by rounding.
    if not ((values >= -1e-9) & (values <= 1 + 1e-9)).all():
        raise ValueError(f"{what} must be between 0 and 1")
