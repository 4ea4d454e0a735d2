"""The viewer: a picture at full depth under layers, with window, zoom, swipe and panes that move together, drawn in the browser."""

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
    """A picture packed for its way to the browser, which keeps the reader's view of it by its `id`."""

    id: str
    height: int
    width: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Pane:
    """The picture under one of several layers that the reader chooses from by name, or under none."""

    alt: str
    caption: str
    layers: Mapping[str, bytes] = field(default_factory=dict)
    """PNG files (`png`), stretched over the picture."""


def sheet(levels: Levels, id: str) -> Sheet:
    """Pack a picture. Pixels travel deflated as differences to their left neighbour: exact, and as small as PNG in less time."""
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
        id, height, width, pack(header, {"values": pixels, "greys": levels.greys.tobytes()})
    )


def png(layer: Rgba) -> bytes:
    """Return a layer, (H, W, 4) uint8, as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(layer).save(
        content, "PNG", compress_level=1
    )  # higher levels take longer than the way to the browser
    return content.getvalue()


def lightbox(
    picture: Sheet,
    panes: Sequence[Pane],
    drawings: Mapping[str, str],
    outline: bytes | None,
    key: str,
) -> None:
    """Show a picture in panes that move together. What the reader set is kept as long as the picture is the same.

    drawings: the names of the layers to choose from, and what each shows.  outline: a PNG file laid over every pane with layers.
    """
    parts = {
        f"{name} {k}": layer for k, pane in enumerate(panes) for name, layer in pane.layers.items()
    }
    if outline is not None:
        parts["outline"] = outline
    header = {
        "id": picture.id,
        "panes": [
            {
                "alt": pane.alt,
                "caption": pane.caption,
                "layers": {name: f"{name} {k}" for name in pane.layers},
            }
            for k, pane in enumerate(panes)
        ],
        "drawings": list(drawings.items()),
        "outline": None if outline is None else "outline",
        "note": RESEARCH_ONLY,
    }
    with st.container(gap=None):
        _component()(data=pack(header, parts), key=key)
        # By itself, and without a place on the page, so that another map does not send the picture again.
        _component()(data=picture.message, key=f"{key} picture")


def pack(header: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """Return one message: four bytes with the length of a JSON header, little-endian, the header, and the parts that it places."""
    places, start = {}, 0
    for name, part in parts.items():
        places[name] = [start, len(part)]
        start += len(part)
    text = json.dumps({**header, "parts": places}, allow_nan=False).encode()
    return b"".join((len(text).to_bytes(4, "little"), text, *parts.values()))


@functools.cache
def _component() -> ComponentRenderer:
    names = ("lightbox.html", "lightbox.css", "picture.js", "screen.js", "hands.js")
    html, css, *scripts = (files(__name__).joinpath(name).read_text("utf-8") for name in names)
    return st.components.v2.component("covidxr.lightbox", html=html, css=css, js="".join(scripts))
