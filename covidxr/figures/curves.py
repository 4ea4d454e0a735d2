"""ROC and precision-recall curves, light enough to send to a browser."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from covidxr.figures.style import MODEL_DASHES, check_shares, diagonal, drawn, square
from covidxr.records import display_name

_MOST_POINTS = 500
_FINEST = 0.02
"""Percentage points; no screen shows a smaller step of a curve."""

Points = npt.NDArray[np.float64]
"""(P, 2) x and y of a curve."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A line to draw with its name in the legend and, behind it, a label such as `AUROC 0.991 (0.987-0.994)`, or none.

    name: of a class or model.  x, y: (P,) in [0, 1], in the order in which they are joined.  colour: `#RRGGBB`.
    """

    name: str
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    colour: str
    label: str


def roc_figure(curves: Sequence[Curve], ink: str) -> go.Figure:
    """Draw sensitivity over false alarms in percent, with the diagonal of chance.

    curves: x is 1 - specificity, y is sensitivity, in [0, 1]. Raises ValueError for curves of other shapes and values, or none.
    """
    lines = _lines(curves, "False alarms %{x:.1f} %,<br>sensitivity %{y:.1f} %")
    figure = drawn([*lines, diagonal("Chance")], ink, 360, len(lines) + 1, hovermode="closest")
    square(
        figure,
        ink,
        "False alarms: 100 − specificity (%)",
        "Sensitivity: cases found (%)",
        zooms=True,
    )
    return figure


def precision_recall_figure(curves: Sequence[Curve], ink: str) -> go.Figure:
    """Draw the positive predictive value over sensitivity in percent.

    curves: x is sensitivity, y is the ppv, in [0, 1]. Raises ValueError for curves of other shapes and values, or none.
    """
    lines = _lines(curves, "Sensitivity %{x:.1f} %,<br>ppv %{y:.1f} %")
    figure = drawn(lines, ink, 360, len(lines), hovermode="closest")
    square(figure, ink, "Sensitivity: cases found (%)", "PPV: calls that are right (%)", zooms=True)
    return figure


def _lines(curves: Sequence[Curve], hover: str) -> list[go.Scatter]:
    if not curves:
        raise ValueError("expected one curve at least, got none")
    lines = []
    for number, curve in enumerate(curves):
        for values in (curve.x, curve.y):
            check_shares(values, f"the values of {curve.name}")
        if len(curve.x) != len(curve.y) or not len(curve.x):
            raise ValueError(
                f"expected x and y of one length for {curve.name}, got {curve.x.shape} and {curve.y.shape}"
            )
        points = thinned(100 * np.stack([curve.x, curve.y], axis=1))
        name = display_name(curve.name)
        lines.append(
            go.Scatter(
                x=points[:, 0],
                y=points[:, 1],
                mode="lines",
                name=f"{name}: {curve.label}" if curve.label else name,
                line={
                    "color": curve.colour,
                    "width": 2.5,
                    "dash": MODEL_DASHES[number % len(MODEL_DASHES)],
                },
                hovertemplate=f"{name}<br>{hover}<extra></extra>",
            )
        )
    return lines


def thinned(points: Points) -> Points:
    """Return at most 500 of the points (P, 2) of a curve, those that keep its course best; both ends stay.

    The stretch that strays furthest from its chord is split there, again and again, until none strays by more than 0.02: Ramer
    1972, "An iterative procedure for the polygonal approximation of plane curves", worst stretch first.
    """
    kept = {0, len(points) - 1}
    stretches = [_furthest(points, 0, len(points) - 1)]
    while len(kept) < _MOST_POINTS and stretches:
        negative_distance, start, middle, end = heapq.heappop(stretches)
        if -negative_distance <= _FINEST:
            break
        kept.add(middle)
        for part in ((start, middle), (middle, end)):
            heapq.heappush(stretches, _furthest(points, *part))
    return points[sorted(kept)]


def _furthest(points: Points, start: int, end: int) -> tuple[float, int, int, int]:
    """Return (minus the distance, start, the point furthest from the chord between start and end, end)."""
    if end - start < 2:
        return 0.0, start, start, end
    origin, chord, inner = points[start], points[end] - points[start], points[start + 1 : end]
    along = np.clip((inner - origin) @ chord / max(float(chord @ chord), 1e-12), 0, 1)
    distance = np.linalg.norm(inner - origin - along[:, None] * chord, axis=1)
    index = int(np.argmax(distance))
    return -float(distance[index]), start, start + 1 + index, end
