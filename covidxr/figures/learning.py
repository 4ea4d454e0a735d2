"""Learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import plotly.graph_objects as go

from covidxr.cards import EpochMetrics
from covidxr.figures.style import MODEL_COLORS, MODEL_DASHES, NEUTRAL, axis, drawn

Measure = Literal["loss", "accuracy", "macro_f1"]
_MEASURES = {"loss": "Loss", "accuracy": "Accuracy (%)", "macro_f1": "Macro-F1 (%)"}

_MOST_MARKED = 30
"""Number of epochs up to which each has a marker; more would overlap."""


def learning_figure(
    curves: Mapping[str, Sequence[EpochMetrics]],
    measure: Measure,
    ink: str,
    steps: Sequence[tuple[float, float]] = (),
) -> go.Figure:
    """Draw learning curves: training and validation of one model, or validation of several.

    Args:
        curves: Epochs by model name, for 1 to 5 models; one without epochs is skipped.
        measure: The value to draw; macro_f1 exists for validation only.
        ink: Text color, `#RRGGBB`.
        steps: (epochs completed, training loss) of a single running model, for the loss only.

    Raises:
        ValueError: The measure, number of models or steps are invalid, or there is no epoch.
    """
    if measure not in _MEASURES:
        raise ValueError(f"measure must be loss, accuracy or macro_f1, got {measure!r}")
    if not 1 <= len(curves) <= len(MODEL_COLORS):
        raise ValueError(f"expected 1 to {len(MODEL_COLORS)} models, got {len(curves)}")
    alone = len(curves) == 1
    if steps and (measure != "loss" or not alone):
        raise ValueError("steps require the loss of a single model")
    numbers = [point.epoch for epochs in curves.values() for point in epochs] + [
        math.ceil(place) for place, _ in steps
    ]
    if not numbers:
        raise ValueError("at least one epoch is required, got none")
    first, last = min(numbers), max(numbers)
    traces = []
    if steps:
        x, y = zip(*steps, strict=True)
        look = {"mode": "lines", "line": {"color": NEUTRAL, "width": 1}, "hoverinfo": "skip"}
        traces.append(go.Scatter(x=x, y=y, name="Training (running)", **look))
    for (name, epochs), color, dash in zip(
        curves.items(), MODEL_COLORS, MODEL_DASHES, strict=False
    ):
        if not epochs:
            continue
        if alone and measure != "macro_f1":
            traces.append(
                _learning(epochs, f"train_{measure}", "Training", NEUTRAL, "dot", "square-open")
            )
        traces.append(
            _learning(
                epochs, f"val_{measure}", "Validation" if alone else name, color, dash, "circle"
            )
        )
    figure = drawn(traces, ink, 260, len(traces), hovermode="closest")
    # At most ten ticks, on whole epochs; space on both sides centers a single one.
    step = -(-(last - first + 1) // 10)
    left = first - 1 if steps else first - 0.5
    figure.update_xaxes(
        axis(
            "Epoch",
            ink,
            range=[left, last + 0.5],
            tick0=first,
            dtick=step,
            tickformat="d",
            showgrid=False,
        )
    )
    figure.update_yaxes(
        axis(_MEASURES[measure], ink, rangemode="tozero" if measure == "loss" else "normal")
    )
    return figure


def _learning(
    epochs: Sequence[EpochMetrics], field: str, name: str, color: str, dash: str, symbol: str
) -> go.Scatter:
    loss = field.endswith("loss")
    measure = field.partition("_")[2].replace("macro_f1", "macro-F1")
    value = "%{y:.3f}" if loss else "%{y:.1f}%"
    return go.Scatter(
        x=[point.epoch for point in epochs],
        y=[getattr(point, field) * (1 if loss else 100) for point in epochs],
        mode="lines+markers" if len(epochs) <= _MOST_MARKED else "lines",
        name=name,
        line={"color": color, "width": 2, "dash": dash},
        marker={"symbol": symbol, "size": 7},
        hovertemplate=f"{name}<br>epoch %{{x}}: {measure} {value}<extra></extra>",
    )
