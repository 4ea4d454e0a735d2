"""Image viewer in the browser: full bit depth, overlays, window, zoom and linked panes."""

from __future__ import annotations

import functools
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image

from covidxr.figures import Rgba
from covidxr.images.levels import Levels
from covidxr.records import RESEARCH_ONLY

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer


@dataclass(frozen=True, slots=True)
class Sheet:
    """An image packed for the browser, which keeps the user's view of it by its `id`."""

    id: str
    height: int
    width: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Pane:
    """The image under one of several overlays, chosen by name, or under none."""

    alt: str
    caption: str
    layers: Mapping[str, bytes] = field(default_factory=dict)
    """PNG files (`png`), stretched over the image, by the name of the overlay."""


def sheet(levels: Levels, id: str) -> Sheet:
    """Pack an image for the browser.

    Pixels are sent deflated, as differences to their left neighbors: lossless, and as small as PNG
    in less time.
    """
    height, width = levels.values.shape
    values = np.ascontiguousarray(levels.values, dtype=levels.values.dtype.newbyteorder("<"))
    left = np.zeros((height, 1), dtype=values.dtype)
    header = {
        "id": id,
        "width": width,
        "height": height,
        "depth": values.dtype.itemsize,
        "low": float(levels.low),
        "high": float(levels.high),
        "span": levels.span,
        "slope": levels.slope,
        "intercept": levels.intercept,
        "negative": levels.negative,
        "padded": levels.padded,
    }
    pixels = zlib.compress(np.diff(values, axis=1, prepend=left).tobytes(), 1)
    return Sheet(
        id, height, width, pack(header, {"values": pixels, "grays": levels.grays.tobytes()})
    )


def png(layer: Rgba) -> bytes:
    """Return an overlay, (H, W, 4) uint8, as a PNG file."""
    content = io.BytesIO()
    # Higher levels take longer than the transfer to the browser.
    Image.fromarray(layer).save(content, "PNG", compress_level=1)
    return content.getvalue()


def lightbox(
    image: Sheet,
    panes: Sequence[Pane],
    overlays: Mapping[str, str],
    outline: bytes | None,
    key: str,
) -> None:
    """Show an image in linked panes; the user's view is kept as long as the image is the same.

    Args:
        image: From `sheet`.
        panes: At least one.
        overlays: Names of the overlays to choose from, and what each shows.
        outline: PNG file drawn over every pane with overlays; None for no outline.
        key: Of the component.
    """
    parts = {
        f"{name} {k}": layer for k, pane in enumerate(panes) for name, layer in pane.layers.items()
    }
    if outline is not None:
        parts["outline"] = outline
    header = {
        "id": image.id,
        "panes": [
            {
                "alt": pane.alt,
                "caption": pane.caption,
                "layers": {name: f"{name} {k}" for name in pane.layers},
            }
            for k, pane in enumerate(panes)
        ],
        "overlays": list(overlays.items()),
        "outline": None if outline is None else "outline",
        "note": RESEARCH_ONLY,
    }
    with st.container(gap=None):
        _component()(data=pack(header, parts), key=key)
        # Separate and invisible, so that another heat map does not send the image again.
        _component()(data=image.message, key=f"{key} image")


def pack(header: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """Return one message for the browser.

    It consists of the length of a JSON header (four bytes, little-endian), the header, and the
    parts whose positions the header states.
    """
    places, start = {}, 0
    for name, part in parts.items():
        places[name] = [start, len(part)]
        start += len(part)
    text = json.dumps({**header, "parts": places}, allow_nan=False).encode()
    return b"".join((len(text).to_bytes(4, "little"), text, *parts.values()))


@functools.cache
def _component() -> ComponentRenderer:
    names = ("lightbox.html", "lightbox.css", "image.js", "screen.js", "input.js")
    html, css, *scripts = (files(__name__).joinpath(name).read_text("utf-8") for name in names)
    return st.components.v2.component("covidxr.lightbox", html=html, css=css, js="".join(scripts))
