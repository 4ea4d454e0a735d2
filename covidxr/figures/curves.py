"""ROC and precision-recall curves, thinned for the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from covidxr.figures.style import MODEL_DASHES, check_shares, diagonal, drawn, square
from covidxr.records import display_name

_TOLERANCE = 0.05
"""Percentage points, about a sixth of a screen pixel."""

Points = npt.NDArray[np.float64]
"""(P, 2) x and y of a curve."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve and its legend entry."""

    name: str
    """Of a class or model."""
    x: npt.NDArray[np.float64]
    """(P,) in [0, 1], in drawing order."""
    y: npt.NDArray[np.float64]
    """(P,) in [0, 1]."""
    color: str
    """`#RRGGBB`."""
    label: str
    """Follows the name in the legend, such as `AUROC 0.991 (95% CI 0.987–0.994)`; may be empty."""


def roc_figure(curves: Sequence[Curve], ink: str) -> go.Figure:
    """Draw ROC curves in percent, with the chance diagonal.

    Args:
        curves: x is 1 - specificity, y is sensitivity, in [0, 1].
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: There are no curves, or one has another shape or value outside [0, 1].
    """
    lines = _lines(curves, "False-positive rate %{x:.1f}%<br>Sensitivity %{y:.1f}%")
    figure = drawn(
        [*lines, diagonal("Chance level")], ink, 360, len(lines) + 1, hovermode="closest"
    )
    square(figure, ink, "False-positive rate (%)", "Sensitivity / recall (%)", zooms=True)
    return figure


def precision_recall_figure(curves: Sequence[Curve], ink: str) -> go.Figure:
    """Draw precision-recall curves in percent.

    Args:
        curves: x is sensitivity, y is PPV, in [0, 1].
        ink: Text color, `#RRGGBB`.

    Raises:
        ValueError: There are no curves, or one has another shape or value outside [0, 1].
    """
    lines = _lines(curves, "Sensitivity %{x:.1f}%<br>PPV %{y:.1f}%")
    figure = drawn(lines, ink, 360, len(lines), hovermode="closest")
    square(figure, ink, "Sensitivity / recall (%)", "PPV / precision (%)", zooms=True)
    return figure


def _lines(curves: Sequence[Curve], hover: str) -> list[go.Scatter]:
    if not curves:
        raise ValueError("at least one curve is required, got none")
    lines = []
    for number, curve in enumerate(curves):
        for values in (curve.x, curve.y):
            check_shares(values, f"the values of {curve.name}")
        if len(curve.x) != len(curve.y) or not len(curve.x):
            raise ValueError(
                f"x and y of {curve.name} must have one length of 1 or more, "
                f"got {curve.x.shape} and {curve.y.shape}"
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
                    "color": curve.color,
                    "width": 2.5,
                    "dash": MODEL_DASHES[number % len(MODEL_DASHES)],
                },
                hovertemplate=f"{name}<br>{hover}<extra></extra>",
            )
        )
    return lines


def thinned(points: Points) -> Points:
    """Drop points (P, 2) of a curve that deviate by less than `_TOLERANCE`; both ends are kept.

    Ramer 1972, "An iterative procedure for the polygonal approximation of plane curves".
    """
    # A third of a second, and only these charts need it.
    from skimage.measure import approximate_polygon

    return np.asarray(approximate_polygon(points, _TOLERANCE))  # type: ignore[no-untyped-call]
