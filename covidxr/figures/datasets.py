"""Charts of datasets: composition and similarity of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from covidxr.figures.style import CLASS_COLORS, MODEL_COLORS, OTHER_CLASS, axis, drawn
from covidxr.formatting import count
from covidxr.records import display_name

_PATTERNS = ("", "/", ".", "x", "\\")
_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up")


def count_bars(counts: Mapping[str, Mapping[str, int]], ink: str, stacked: bool) -> go.Figure:
    """Draw numbers of images, in rows (classes or splits) of parts (sources, splits or datasets).

    Args:
        counts: Number of images by row and part; at most five parts.
        ink: Text color, `#RRGGBB`.
        stacked: Whether to stack the parts of a row instead of placing them side by side.

    Raises:
        ValueError: There are no rows, or more than five parts.
    """
    parts = list(dict.fromkeys(part for row in counts.values() for part in row))
    if not counts or not 1 <= len(parts) <= len(MODEL_COLORS):
        raise ValueError(
            f"expected rows of 1 to {len(MODEL_COLORS)} parts, "
            f"got {len(counts)} rows of {len(parts)} parts"
        )
    rows = [display_name(row) for row in counts]
    bars = [
        go.Bar(
            name=display_name(part),
            y=rows,
            x=[row.get(part, 0) for row in counts.values()],
            orientation="h",
            marker={
                "color": color,
                "pattern": {
                    "shape": pattern,
                    "fillmode": "overlay",
                    "fgcolor": "rgba(0, 0, 0, 0.5)",
                    "size": 7,
                },
                "line": {"width": 0},
            },
            customdata=[count(row.get(part, 0)) for row in counts.values()],
            hovertemplate=f"%{{y}}, {display_name(part)}: %{{customdata}}<extra></extra>",
            text=None if stacked else [f"{row.get(part, 0):,}" for row in counts.values()],
            textposition="outside",
            textfont={"color": ink},
            cliponaxis=False,
        )
        for part, color, pattern in zip(parts, MODEL_COLORS, _PATTERNS, strict=False)
    ]
    height = 40 + len(rows) * (34 if stacked else 16 + 18 * len(parts))
    figure = drawn(
        bars,
        ink,
        height,
        len(parts) if len(parts) > 1 else 0,
        barmode="stack" if stacked else "group",
        bargap=0.3,
    )
    most = max(sum(row.values()) if stacked else max(row.values()) for row in counts.values())
    figure.update_xaxes(
        axis("Images", ink, range=[0, most * (1.02 if stacked else 1.18)], nticks=6)
    )
    figure.update_yaxes(axis("", ink, autorange="reversed", showgrid=False))
    # In the order of the bars, the first on top.
    figure.update_layout(legend_traceorder="normal")
    return figure


def similarity_figure(places: npt.NDArray[np.float64], names: Sequence[str], ink: str) -> go.Figure:
    """Draw images as points that are close where the images are similar.

    Args:
        places: (N, 2) coordinates without a unit.
        names: (N,) class or source of each image, drawn in one color each; at most five different.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: The lengths differ, or there are more than five names.
    """
    labels = sorted(
        set(names),
        key=lambda name: (list(CLASS_COLORS).index(name) if name in CLASS_COLORS else 99, name),
    )
    if len(names) != len(places) or len(labels) > len(MODEL_COLORS):
        raise ValueError(
            f"expected one of at most {len(MODEL_COLORS)} names for each of {len(places)} points, "
            f"got {len(names)} values of {len(labels)} names"
        )
    named = np.array(names)
    points = []
    for number, label in enumerate(labels):
        own = places[named == label]
        color = (
            CLASS_COLORS.get(label, OTHER_CLASS)
            if labels[0] in CLASS_COLORS
            else MODEL_COLORS[number]
        )
        points.append(
            go.Scattergl(
                x=own[:, 0],
                y=own[:, 1],
                mode="markers",
                name=display_name(label),
                marker={"color": color, "size": 5, "symbol": _SYMBOLS[number], "opacity": 0.75},
                hovertemplate=f"{display_name(label)}<extra></extra>",
            )
        )
    figure = drawn(points, ink, 340, len(labels), hovermode="closest")
    figure.update_xaxes(axis("", ink, showticklabels=False, showgrid=False, fixedrange=False))
    figure.update_yaxes(axis("", ink, showticklabels=False, showgrid=False, fixedrange=False))
    return figure
