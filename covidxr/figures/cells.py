"""Cells, labels and axes shared by the charts of confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from covidxr.figures.style import TICK, TITLE, axis, contrast, mixed, rgb, two_lines

Matrix = npt.NDArray[np.float64]
"""(C, C), rows are true classes, columns predicted classes."""

_TEXTS = ("#0B0D0F", "#FFFFFF")


def check_counts(matrix: npt.ArrayLike, class_names: Sequence[str]) -> Matrix:
    """Return a confusion matrix as an array, or raise ValueError for other shapes and values."""
    counts = np.asarray(matrix, dtype=np.float64)
    size = len(class_names)
    if size < 2 or counts.shape != (size, size):
        raise ValueError(
            f"expected a matrix of shape ({size}, {size}) for {size} classes, 2 or more, "
            f"got {counts.shape}"
        )
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError("counts must be 0 or more")
    return counts


def percentages(counts: Matrix, by: Literal["row", "column"]) -> Matrix:
    """Return counts as percentages of their row or column, NaN where that is empty."""
    totals = counts.sum(axis=1 if by == "row" else 0, keepdims=True)
    undefined = np.full_like(counts, np.nan)
    return np.asarray(np.divide(100 * counts, totals, out=undefined, where=totals > 0))


def text_color(stops: Sequence[str], position: float, ink: str) -> str:
    """Choose dark or light text for contrast; an undefined cell is transparent, so `ink`."""
    if np.isnan(position):
        return ink
    cell = mixed(stops, position)
    return max(_TEXTS, key=lambda color: contrast(rgb(color), cell))


def heatmap(z: Matrix, **more: Any) -> go.Heatmap:
    """Draw the cells with gaps between them."""
    return go.Heatmap(z=z, xgap=2, ygap=2, **more)


def class_axis(
    title: str, ink: str, class_names: Sequence[str], downward: bool = False, **more: Any
) -> dict[str, Any]:
    """Describe an axis with one tick per class."""
    places = {
        "ticklabelstandoff": 4,
        "tickvals": list(range(len(class_names))),
        "ticktext": [two_lines(name) for name in class_names],
    }
    # Explicit, since the markers over the cells would otherwise widen it.
    span = [-0.5, len(class_names) - 0.5]
    return axis(
        title, ink, showgrid=False, range=span[::-1] if downward else span, **places, **more
    )


def cell_labels(
    texts: list[list[str]], colors: list[list[str]], size: int, x: str = "x", y: str = "y"
) -> list[dict[str, Any]]:
    """Describe a text on every cell; only annotations keep their color when a cell is clicked."""
    return [
        {
            "x": j,
            "y": i,
            "xref": x,
            "yref": y,
            "text": text,
            "showarrow": False,
            "font": {"size": size, "color": colors[i][j]},
        }
        for i, row in enumerate(texts)
        for j, text in enumerate(row)
    ]


def color_bar(title: str, ink: str, below: float) -> dict[str, Any]:
    """Describe a color bar below the plot, at a distance of `below` times the plot's height."""
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
