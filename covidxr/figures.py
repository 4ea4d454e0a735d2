"""Numbers to pictures and to text: pure functions that know nothing of networks or pages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from PIL import Image
from plotly.colors import hex_to_rgb, sequential

from covidxr.data.images import padding
from covidxr.records import GreyImage, Interval, display_name

CLASS_COLOURS = {"Normal": "#56B4E9", "COVID": "#D55E00", "Viral Pneumonia": "#E69F00", "Lung_Opacity": "#CC79A7"}
"""One colour a class everywhere, from the palette of Okabe and Ito, which colour-blind people can tell apart."""
_OTHER_CLASS = "#999999"
SCREEN_EDGE = 1024
"""Long edge in pixels beyond which a picture gains nothing on screen."""

_STOPS = np.array([hex_to_rgb(colour) for colour in sequential.Inferno], dtype=np.float64)
_POSITIONS = np.linspace(0, 255, len(_STOPS))
INFERNO: npt.NDArray[np.float32] = np.stack([np.interp(np.arange(256), _POSITIONS, _STOPS[:, c]) for c in range(3)], axis=1).astype(
    np.float32
)
"""(256, 3) colours in 0..255, from nearly black to pale yellow, evenly spaced to the eye."""


def percent(interval: Interval, n: int | None = None) -> str:
    """Write a share with its interval, and the number of samples behind it: `95.2 % (94.3-96.0), n = 2,433`."""
    text = f"{interval.estimate * 100:.1f} % ({interval.low * 100:.1f}-{interval.high * 100:.1f})"
    return text if n is None else f"{text}, n = {n:,}"


def whole_percent(probability: float) -> str:
    """Write a probability in [0, 1] without claiming certainty: `93 %`, `<1 %`, `>99 %`."""
    if probability > 0.99:
        return ">99 %"
    return "<1 %" if probability < 0.01 else f"{probability * 100:.0f} %"


def probability_bars(probabilities: Mapping[str, float], ink: str) -> go.Figure:
    """Draw one bar a class, the first on top; probabilities lie in [0, 1], `ink` is the colour of the text."""
    names = list(probabilities)
    bars = go.Bar(
        x=[probabilities[name] * 100 for name in names],
        y=[display_name(name) for name in names],
        text=[whole_percent(probabilities[name]) for name in names],
        marker_color=[CLASS_COLOURS.get(name, _OTHER_CLASS) for name in names],
        orientation="h",
        textposition="outside",
        textfont_color=ink,
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(
        title={"text": "Probability (%)", "font_color": ink}, range=[0, 100], tickvals=[0, 50, 100], fixedrange=True
    )
    figure.update_xaxes(tickfont_color=ink).update_yaxes(tickfont_color=ink)
    figure.update_yaxes(autorange="reversed", ticks="", fixedrange=True)
    # The right margin holds the figure beside a bar that fills the axis.
    figure.update_layout(height=52 + 36 * len(names), margin={"l": 0, "r": 40, "t": 8, "b": 44}, bargap=0.35, showlegend=False)
    return figure


def fit_screen(image: GreyImage, edge: int = SCREEN_EDGE) -> GreyImage:
    """Reduce a picture, (H, W) uint8, until its long edge is at most `edge` pixels; a smaller one comes back as it is."""
    height, width = image.shape
    scale = edge / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def heat_overlay(image: GreyImage, heat: npt.NDArray[np.float32], opacity: float) -> npt.NDArray[np.uint8]:
    """Lay a heat map over a picture, (H, W) uint8, and return (H, W, 3) uint8.

    heat: (S, S) in [0, 1], lying on the picture padded to a centred square.  opacity: in [0, 1], that of the hottest places;
    colder ones are clearer in proportion, so that the radiograph stays visible where the map has nothing to say.
    """
    if heat.ndim != 2 or heat.shape[0] != heat.shape[1]:
        raise ValueError(f"expected heat of shape (S, S), got {heat.shape}")
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must lie between 0 and 1, got {opacity}")
    height, width = image.shape
    edge = max(height, width)
    left, top, _, _ = padding(height, width)
    square = Image.fromarray(heat.astype(np.float32)).resize((edge, edge), Image.Resampling.BILINEAR)
    own = np.clip(np.asarray(square)[top : top + height, left : left + width], 0.0, 1.0)  # (H, W)
    alpha = (opacity * own)[..., None]
    colours = INFERNO[np.rint(own * 255).astype(np.uint8)]  # (H, W, 3)
    blend: npt.NDArray[np.float32] = alpha * colours + (1 - alpha) * image[..., None]
    return np.rint(blend).astype(np.uint8)
