"""Difference of the confusion matrices of two models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import make_colorscale

from covidxr.figures.cells import (
    cell_labels,
    check_counts,
    class_axis,
    color_bar,
    heatmap,
    percentages,
    text_color,
)
from covidxr.figures.style import TITLE, drawn, luminance, rgb
from covidxr.formatting import NO_VALUE, count
from covidxr.records import display_name

# From fewer to more, over the background: blue and orange are color-blind safe in both themes.
_DIVERGING_DARK = ("#6FC3FF", "#2E6C9C", "#1B2026", "#A8641B", "#FFB14D")
_DIVERGING_LIGHT = ("#0A4C86", "#6FA8D6", "#EFF0EE", "#E3A265", "#9A4A00")


def difference_figure(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    name_a: str,
    name_b: str,
    class_names: Sequence[str],
    ink: str,
) -> go.Figure:
    """Draw the difference b minus a of two confusion matrices, in percentage points and images.

    Args:
        a: (C, C) counts of the first model, rows true classes, columns predicted classes.
        b: The same of the second model.
        name_a: Of the first model.
        name_b: Of the second model.
        class_names: C names.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: A matrix has another shape, or negative counts.
    """
    counts = [check_counts(matrix, class_names) for matrix in (a, b)]
    points = percentages(counts[1], by="row") - percentages(counts[0], by="row")
    more = counts[1] - counts[0]
    size = len(class_names)
    # Below one percentage point the colors stay pale.
    limit = max(1.0, float(np.nanmax(np.abs(points), initial=0.0)))
    scale = _DIVERGING_DARK if luminance(rgb(ink)) > 0.5 else _DIVERGING_LIGHT
    texts = [
        [
            NO_VALUE
            if np.isnan(points[i, j])
            else f"{_signed(points[i, j], 1)}<br>({_signed(more[i, j], 0)})"
            for j in range(size)
        ]
        for i in range(size)
    ]
    names = [display_name(name) for name in class_names]
    hover = [
        [
            _difference(points[i, j], more[i, j], name_a, name_b, names[i], names[j])
            for j in range(size)
        ]
        for i in range(size)
    ]
    # Pixels of the names, the cells, and the classes with the color bar.
    head, body, foot = 52, 330, 128
    bar = color_bar("Difference, percentage points (images)", ink, foot / body)
    heat = heatmap(
        points,
        colorscale=make_colorscale(scale),
        zmin=-limit,
        zmax=limit,
        hovertext=hover,
        hoverinfo="text",
        colorbar=bar,
    )
    figure = drawn(
        [heat],
        ink,
        body,
        0,
        dragmode=False,
        height=head + body + foot,
        margin={"t": head, "b": foot},
    )
    figure.update_xaxes(class_axis("Predicted class", ink, class_names, tickangle=0))
    figure.update_yaxes(class_axis("True class", ink, class_names, downward=True))
    colors = [
        [text_color(scale, (points[i, j] / limit + 1) / 2, ink) for j in range(size)]
        for i in range(size)
    ]
    title = {
        "text": f"{name_b}<br>minus {name_a}",
        "font": {"color": ink, "size": TITLE},
        "showarrow": False,
        "align": "left",
        "x": 0,
        "y": 1,
        "xref": "x domain",
        "yref": "y domain",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 6,
    }
    figure.update_layout(
        annotations=[*cell_labels(texts, colors, max(10, min(15, 60 // size))), title]
    )
    return figure


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def _difference(
    points: float, more: float, name_a: str, name_b: str, true: str, predicted: str
) -> str:
    if np.isnan(points):
        return f"No {true} images"
    if more == 0:
        return f"Same number of {true} images<br>predicted as {predicted}"
    amount = count(abs(more), f"{'more' if more > 0 else 'fewer'} {true} image")
    return (
        f"{amount}<br>predicted as {predicted}<br>by {name_b} than by {name_a}"
        f"<br>({_signed(points, 1)} percentage points)"
    )
