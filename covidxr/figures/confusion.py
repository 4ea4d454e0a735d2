"""Confusion matrices: one to click on, several side by side, and the difference of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import make_colorscale, sequential

from covidxr.figures.style import (
    TICK,
    TITLE,
    axis,
    contrast,
    drawn,
    luminance,
    mixed,
    rgb,
    two_lines,
    wrapped,
)
from covidxr.formatting import count
from covidxr.records import display_name

Share = Literal["counts", "row", "column"]
Matrix = npt.NDArray[np.float64]
"""(C, C), rows are the true classes, columns the called ones."""

_SHARES = tuple(sequential.Cividis)
# From "fewer" over the ground itself to "more": blue and orange stay apart for colour-blind people, on both grounds.
_DIVERGING_DARK = ("#6FC3FF", "#2E6C9C", "#1B2026", "#A8641B", "#FFB14D")
_DIVERGING_LIGHT = ("#0A4C86", "#6FA8D6", "#EFF0EE", "#E3A265", "#9A4A00")
_TEXTS = ("#0B0D0F", "#FFFFFF")
_MOST_MODELS = 5
_UNDEFINED = "-"


def confusion_figure(
    matrix: npt.ArrayLike,
    class_names: Sequence[str],
    share: Share = "counts",
    selected: tuple[int, int] | None = None,
    *,
    ink: str,
) -> go.Figure:
    """Draw a confusion matrix whose cells can be clicked: the point's customdata is [true index, predicted index].

    matrix: (C, C) counts, rows true, columns predicted.  share: what a cell says: its count, its percentage of the true class
    ("row") or of the called class ("column"). Colours show the percentage, for counts that of the true class, so that a rare
    class can be read.  selected: the (true, predicted) cell to outline. Raises ValueError for other shapes, shares and cells.
    """
    counts = _counts(matrix, class_names)
    if share not in ("counts", "row", "column"):
        raise ValueError(f"share must be counts, row or column, got {share!r}")
    size = len(class_names)
    if selected is not None and not (0 <= selected[0] < size and 0 <= selected[1] < size):
        raise ValueError(f"expected a selected cell within ({size}, {size}), got {selected}")
    shares = _shares(counts, by="column" if share == "column" else "row")
    texts = [
        [
            f"{counts[i, j]:,.0f}" if share == "counts" else _percent(shares[i, j])
            for j in range(size)
        ]
        for i in range(size)
    ]
    heat = _heatmap(
        shares,
        hoverinfo="skip",
        colorscale=make_colorscale(_SHARES),
        zmin=0,
        zmax=100,
        showscale=False,
    )
    places = [(i, j) for i in range(size) for j in range(size)]
    # Streamlit hands on no click on a heat map, but it does on these; a cell at least 300 / C pixels wide is covered.
    targets = go.Scatter(
        x=[j for _, j in places],
        y=[i for i, _ in places],
        customdata=[[i, j] for i, j in places],
        hovertext=[
            _sentence(counts, shares, class_names, i, j, "column" if share == "column" else "row")
            for i, j in places
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        mode="markers",
        marker={"symbol": "square", "size": 300 // size, "opacity": 0},
        selected_marker_opacity=0,
        unselected_marker_opacity=0,
        showlegend=False,
    )
    # The nearest cell is meant wherever the pointer is, also beyond the reach of a marker in a wide chart.
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
    figure.update_layout(margin={"b": 60})  # class names of two lines
    figure.update_xaxes(_class_axis("Called", ink, class_names, tickangle=0))
    figure.update_yaxes(_class_axis("Truth", ink, class_names, downward=True))
    colours = [
        [_text_colour(_SHARES, shares[i, j] / 100, ink) for j in range(size)] for i in range(size)
    ]
    figure.update_layout(annotations=_labels(texts, colours, max(10, min(20, 76 // size))))
    if selected is not None:
        i, j = selected
        # White within black stands out from every cell and from either ground; half a line beyond the plot would be cut off.
        edge = 0.46
        corners = {"x0": j - edge, "x1": j + edge, "y0": i - edge, "y1": i + edge}
        for colour, width in (("#000000", 6), ("#FFFFFF", 2.5)):
            figure.add_shape(type="rect", line={"color": colour, "width": width}, **corners)
    return figure


def confusion_grid(
    matrices: Mapping[str, npt.ArrayLike], class_names: Sequence[str], ink: str
) -> go.Figure:
    """Draw the confusion matrices of 2 to 5 models side by side, at most three a row, in percent of the true class.

    matrices: model name -> (C, C) counts, rows true, columns predicted. Raises ValueError for other shapes and numbers of models.
    """
    if not 2 <= len(matrices) <= _MOST_MODELS:
        raise ValueError(f"expected 2 to {_MOST_MODELS} models, got {len(matrices)}")
    size, models = len(class_names), len(matrices)
    columns = 2 if models in (2, 4) else 3
    rows = -(-models // columns)
    head, body, foot = (
        48,
        200 if columns == 2 else 170,
        180,
    )  # pixels: the name, the cells, the classes and the colour bar
    whole, gap = rows * (head + body), 0.03
    figure = drawn(
        [], ink, whole, 0, height=whole + foot, margin={"l": 84, "r": 4, "t": 0, "b": foot}
    )
    width = (1 - gap * (columns - 1)) / columns
    annotations: list[dict[str, Any]] = []
    for number, (name, matrix) in enumerate(matrices.items()):
        counts = _counts(matrix, class_names)
        shares = _shares(counts, by="row")
        row, column = divmod(number, columns)
        x, y = (f"{letter}{number + 1}" if number else letter for letter in "xy")
        says = [
            [
                f"{name}:<br>{_sentence(counts, shares, class_names, i, j, 'row')}"
                for j in range(size)
            ]
            for i in range(size)
        ]
        figure.add_trace(
            _heatmap(
                shares, coloraxis="coloraxis", hovertext=says, hoverinfo="text", xaxis=x, yaxis=y
            )
        )
        left, top = column * (width + gap), 1 - (row * (head + body) + head) / whole
        lowest, first = number + columns >= models, column == 0
        across = _class_axis(
            "Called" if lowest else "",
            ink,
            class_names,
            domain=[left, left + width],
            anchor=y,
            tickangle=-90,
        )
        across |= {
            "ticktext": [display_name(name) for name in class_names]
        }  # upright, two lines would touch the next cell's
        tall = [max(0.0, top - body / whole), top]
        down = _class_axis(
            "Truth" if first else "", ink, class_names, domain=tall, anchor=x, downward=True
        )
        figure.update_layout({
            x.replace("x", "xaxis"): across | {"showticklabels": lowest},
            y.replace("y", "yaxis"): down | {"showticklabels": first},
        })  # fmt: skip
        texts = [[_short(shares[i, j]) for j in range(size)] for i in range(size)]
        colours = [
            [_text_colour(_SHARES, shares[i, j] / 100, ink) for j in range(size)]
            for i in range(size)
        ]
        annotations += _labels(texts, colours, 12, x, y)
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
    bar = _colour_bar("Share of the true class (%)", ink, foot / whole) | {
        "tickvals": [0, 25, 50, 75, 100]
    }
    figure.update_layout(
        coloraxis={"colorscale": make_colorscale(_SHARES), "cmin": 0, "cmax": 100, "colorbar": bar}
    )
    return figure


def difference_figure(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    name_a: str,
    name_b: str,
    class_names: Sequence[str],
    ink: str,
) -> go.Figure:
    """Draw what model b calls more or less often than model a, in points of the true class, the pictures in brackets.

    a, b: (C, C) counts, rows true, columns predicted. Raises ValueError for other shapes.
    """
    counts = [_counts(matrix, class_names) for matrix in (a, b)]
    points = _shares(counts[1], by="row") - _shares(counts[0], by="row")
    more = counts[1] - counts[0]
    size = len(class_names)
    # A point either way is little: below that the colours stay pale.
    limit = max(1.0, float(np.nanmax(np.abs(points), initial=0.0)))
    scale = _DIVERGING_DARK if luminance(rgb(ink)) > 0.5 else _DIVERGING_LIGHT
    texts = [
        [
            _UNDEFINED
            if np.isnan(points[i, j])
            else f"{_signed(points[i, j], 1)}<br>({_signed(more[i, j], 0)})"
            for j in range(size)
        ]
        for i in range(size)
    ]
    says = [
        [
            _difference(points[i, j], more[i, j], name_a, name_b, class_names, i, j)
            for j in range(size)
        ]
        for i in range(size)
    ]
    head, body, foot = 52, 330, 128  # pixels: the names, the cells, the classes and the colour bar
    bar = _colour_bar("Points of the true class (pictures)", ink, foot / body)
    heat = _heatmap(
        points,
        colorscale=make_colorscale(scale),
        zmin=-limit,
        zmax=limit,
        hovertext=says,
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
    figure.update_xaxes(_class_axis("Called", ink, class_names, tickangle=0))
    figure.update_yaxes(_class_axis("Truth", ink, class_names, downward=True))
    colours = [
        [_text_colour(scale, (points[i, j] / limit + 1) / 2, ink) for j in range(size)]
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
        annotations=[*_labels(texts, colours, max(10, min(15, 60 // size))), title]
    )
    return figure


def _counts(matrix: npt.ArrayLike, class_names: Sequence[str]) -> Matrix:
    counts = np.asarray(matrix, dtype=np.float64)
    size = len(class_names)
    if size < 2 or counts.shape != (size, size):
        raise ValueError(
            f"expected a matrix of shape ({size}, {size}) for {size} classes, 2 at least, got {counts.shape}"
        )
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError("counts must be 0 or more")
    return counts


def _shares(counts: Matrix, by: Literal["row", "column"]) -> Matrix:
    """Percentages of the row's or column's total; NaN where there is nothing to share."""
    totals = counts.sum(axis=1 if by == "row" else 0, keepdims=True)
    shares: Matrix = np.divide(
        100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0
    )
    return shares


def _percent(share: float) -> str:
    return _UNDEFINED if np.isnan(share) else f"{share:.1f} %"


def _short(share: float) -> str:
    """Write a percentage for a narrow cell; nought and a hundred are said only where they are exact."""
    if np.isnan(share):
        return _UNDEFINED
    if 0 < share < 1:
        return "<1"
    return ">99" if 99 < share < 100 else f"{share:.0f}"


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def _sentence(
    counts: Matrix,
    shares: Matrix,
    class_names: Sequence[str],
    i: int,
    j: int,
    by: Literal["row", "column"],
) -> str:
    truth, called = display_name(class_names[i]), display_name(class_names[j])
    whole = truth if by == "row" else f"those called {called}"
    share = "" if np.isnan(shares[i, j]) else f"<br>({shares[i, j]:.1f} % of {whole})"
    return f"{count(counts[i, j])} of {truth}<br>called {called}{share}"


def _difference(
    points: float, more: float, name_a: str, name_b: str, class_names: Sequence[str], i: int, j: int
) -> str:
    truth, called = display_name(class_names[i]), display_name(class_names[j])
    if np.isnan(points):
        return f"No pictures of {truth} to compare"
    what = f"pictures of {truth}<br>{called}"
    if more == 0:
        return f"{name_b} calls<br>as many {what}<br>as {name_a}"
    amount = f"{abs(more):,.0f} {'more' if more > 0 else 'fewer'}"
    return f"{name_b} calls<br>{amount} {what}<br>than {name_a}<br>({_signed(points, 1)} points of {truth})"


def _text_colour(stops: Sequence[str], position: float, ink: str) -> str:
    """Choose dark or light text, whichever stands out from the cell; a cell without a share shows the ground."""
    if np.isnan(position):
        return ink
    cell = mixed(stops, position)
    return max(_TEXTS, key=lambda colour: contrast(rgb(colour), cell))


def _heatmap(z: Matrix, **more: Any) -> go.Heatmap:
    return go.Heatmap(z=z, xgap=2, ygap=2, **more)


def _class_axis(
    title: str, ink: str, class_names: Sequence[str], downward: bool = False, **more: Any
) -> dict[str, Any]:
    places = {
        "ticklabelstandoff": 4,
        "tickvals": list(range(len(class_names))),
        "ticktext": [two_lines(name) for name in class_names],
    }
    # Named, since the markers over the cells would otherwise widen it.
    span = [-0.5, len(class_names) - 0.5]
    return axis(
        title, ink, showgrid=False, range=span[::-1] if downward else span, **places, **more
    )


def _labels(
    texts: list[list[str]], colours: list[list[str]], size: int, x: str = "x", y: str = "y"
) -> list[dict[str, Any]]:
    """Write a text on every cell. Annotations, as they alone keep a colour each when a cell is clicked."""
    return [
        {
            "x": j,
            "y": i,
            "xref": x,
            "yref": y,
            "text": text,
            "showarrow": False,
            "font": {"size": size, "color": colours[i][j]},
        }
        for i, row in enumerate(texts)
        for j, text in enumerate(row)
    ]


def _colour_bar(title: str, ink: str, below: float) -> dict[str, Any]:
    """Describe a colour bar under the chart, `below` of the plot's height lower than the plot."""
    return {
        "orientation": "h",
        "y": -below,
        "ypad": 2,
        "yanchor": "bottom",
        "thickness": 10,
        "len": 0.8,
        "outlinewidth": 0,
        "tickfont": {"color": ink, "size": TICK},
        "title": {"text": title, "side": "top", "font": {"color": ink, "size": TITLE}},
    }
