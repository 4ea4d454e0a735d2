"""Confusion matrices: one with selectable cells, or several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import make_colorscale, sequential

from covidxr.figures.cells import (
    Matrix,
    cell_labels,
    check_counts,
    class_axis,
    color_bar,
    heatmap,
    percentages,
    text_color,
)
from covidxr.figures.style import TICK, drawn, wrapped
from covidxr.formatting import NO_VALUE, count
from covidxr.records import display_name

Share = Literal["counts", "row", "column"]
"""What the cells of a matrix show."""

_SCALE = tuple(sequential.Cividis)
_MOST_MODELS = 5


def confusion_figure(
    matrix: npt.ArrayLike,
    class_names: Sequence[str],
    share: Share = "counts",
    selected: tuple[int, int] | None = None,
    *,
    ink: str,
) -> go.Figure:
    """Draw a confusion matrix with selectable cells.

    The customdata of a selected point is [true index, predicted index].

    Args:
        matrix: (C, C) counts, rows true classes, columns predicted classes.
        class_names: C names.
        share: Show counts, percentages of the true class ("row") or of the predicted class
            ("column"). Colors always show percentages (with counts, of the true class), so that
            rare classes are readable.
        selected: The (true, predicted) cell to outline.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: The matrix, the share or the selected cell is invalid.
    """
    counts = check_counts(matrix, class_names)
    if share not in ("counts", "row", "column"):
        raise ValueError(f"share must be counts, row or column, got {share!r}")
    size = len(class_names)
    if selected is not None and not (0 <= selected[0] < size and 0 <= selected[1] < size):
        raise ValueError(f"expected a selected cell within ({size}, {size}), got {selected}")
    shares = percentages(counts, by="column" if share == "column" else "row")
    texts = [
        [
            f"{counts[i, j]:,.0f}" if share == "counts" else _percent(shares[i, j])
            for j in range(size)
        ]
        for i in range(size)
    ]
    heat = heatmap(
        shares,
        hoverinfo="skip",
        colorscale=make_colorscale(_SCALE),
        zmin=0,
        zmax=100,
        showscale=False,
    )
    places = [(i, j) for i in range(size) for j in range(size)]
    # Streamlit reports clicks on markers, not on a heat map; these cover cells of 300 / C pixels.
    targets = go.Scatter(
        x=[j for _, j in places],
        y=[i for i, _ in places],
        customdata=[[i, j] for i, j in places],
        hovertext=[
            _hover(counts, shares, class_names, i, j, "column" if share == "column" else "row")
            for i, j in places
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        mode="markers",
        marker={"symbol": "square", "size": 300 // size, "opacity": 0},
        selected_marker_opacity=0,
        unselected_marker_opacity=0,
        showlegend=False,
    )
    # Hovering selects the nearest cell, even outside its marker in a wide chart.
    figure = drawn(
        [heat, targets],
        ink,
        348,
        0,
        clickmode="event+select",
        dragmode=False,
        hovermode="closest",
        hoverdistance=-1,
    )
    # For class names of two lines.
    figure.update_layout(margin={"b": 60})
    figure.update_xaxes(class_axis("Predicted class", ink, class_names, tickangle=0))
    figure.update_yaxes(class_axis("True class", ink, class_names, downward=True))
    colors = [
        [text_color(_SCALE, shares[i, j] / 100, ink) for j in range(size)] for i in range(size)
    ]
    figure.update_layout(annotations=cell_labels(texts, colors, max(10, min(20, 76 // size))))
    if selected is not None:
        i, j = selected
        # White within black is visible on every cell in both themes; inside, as the plot clips it.
        edge = 0.46
        corners = {"x0": j - edge, "x1": j + edge, "y0": i - edge, "y1": i + edge}
        for color, width in (("#000000", 6), ("#FFFFFF", 2.5)):
            figure.add_shape(type="rect", line={"color": color, "width": width}, **corners)
    return figure


def confusion_grid(
    matrices: Mapping[str, npt.ArrayLike], class_names: Sequence[str], ink: str
) -> go.Figure:
    """Draw the confusion matrices of 2 to 5 models, in percent of the true class.

    Args:
        matrices: By model, (C, C) counts, rows true classes, columns predicted classes.
        class_names: C names.
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: A matrix or the number of models is invalid.
    """
    if not 2 <= len(matrices) <= _MOST_MODELS:
        raise ValueError(f"expected 2 to {_MOST_MODELS} models, got {len(matrices)}")
    size, models = len(class_names), len(matrices)
    columns = 2 if models in (2, 4) else 3
    rows = -(-models // columns)
    # Pixels of the name, the cells, and the classes with the color bar.
    head, body, foot = 48, 200 if columns == 2 else 170, 180
    whole, gap = rows * (head + body), 0.03
    figure = drawn(
        [], ink, whole, 0, height=whole + foot, margin={"l": 84, "r": 4, "t": 0, "b": foot}
    )
    width = (1 - gap * (columns - 1)) / columns
    annotations: list[dict[str, Any]] = []
    for number, (name, matrix) in enumerate(matrices.items()):
        counts = check_counts(matrix, class_names)
        shares = percentages(counts, by="row")
        row, column = divmod(number, columns)
        x, y = (f"{letter}{number + 1}" if number else letter for letter in "xy")
        hover = [
            [f"{name}<br>{_hover(counts, shares, class_names, i, j, 'row')}" for j in range(size)]
            for i in range(size)
        ]
        figure.add_trace(
            heatmap(
                shares, coloraxis="coloraxis", hovertext=hover, hoverinfo="text", xaxis=x, yaxis=y
            )
        )
        left, top = column * (width + gap), 1 - (row * (head + body) + head) / whole
        lowest, first = number + columns >= models, column == 0
        across = class_axis(
            "Predicted class" if lowest else "",
            ink,
            class_names,
            domain=[left, left + width],
            anchor=y,
            tickangle=-90,
        )
        # One line each: upright, two would touch those of the next cell.
        across |= {"ticktext": [display_name(name) for name in class_names]}
        tall = [max(0.0, top - body / whole), top]
        down = class_axis(
            "True class" if first else "", ink, class_names, domain=tall, anchor=x, downward=True
        )
        figure.update_layout({
            x.replace("x", "xaxis"): across | {"showticklabels": lowest},
            y.replace("y", "yaxis"): down | {"showticklabels": first},
        })  # fmt: skip
        texts = [[_short(shares[i, j]) for j in range(size)] for i in range(size)]
        colors = [
            [text_color(_SCALE, shares[i, j] / 100, ink) for j in range(size)] for i in range(size)
        ]
        annotations += cell_labels(texts, colors, 12, x, y)
        title = {
            "text": wrapped(name, 24 if columns == 2 else 16),
            "font": {"color": ink, "size": TICK},
            "showarrow": False,
        }
        place = {
            "x": left + width / 2,
            "y": top,
            "xref": "paper",
            "yref": "paper",
            "xanchor": "center",
            "yanchor": "bottom",
        }
        annotations.append(title | place)
    figure.update_layout(annotations=annotations)
    bar = color_bar("Percentage of the true class", ink, foot / whole)
    bar |= {"tickvals": [0, 25, 50, 75, 100]}
    figure.update_layout(
        coloraxis={"colorscale": make_colorscale(_SCALE), "cmin": 0, "cmax": 100, "colorbar": bar}
    )
    return figure


def _percent(share: float) -> str:
    return NO_VALUE if np.isnan(share) else f"{share:.1f}%"


def _short(share: float) -> str:
    """Format a percentage for a narrow cell; 0 and 100 only where they are exact."""
    if np.isnan(share):
        return NO_VALUE
    if 0 < share < 1:
        return "<1"
    return ">99" if 99 < share < 100 else f"{share:.0f}"


def _hover(
    counts: Matrix,
    shares: Matrix,
    class_names: Sequence[str],
    i: int,
    j: int,
    by: Literal["row", "column"],
) -> str:
    images = count(counts[i, j], f"{display_name(class_names[i])} image")
    whole = "true" if by == "row" else "predicted"
    share = "" if np.isnan(shares[i, j]) else f"<br>({shares[i, j]:.1f}% of the {whole} class)"
    return f"{images}<br>predicted as {display_name(class_names[j])}{share}"
