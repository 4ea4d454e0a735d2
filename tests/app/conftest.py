"""The app without a browser."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from covidxr.prediction.cases import sample_phantom


def unpack(message: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Split a message to the viewer into its header and its parts by name."""
    start = 4 + int.from_bytes(message[:4], "little")
    header = json.loads(message[4:start])
    return header, {
        name: message[start + first :][:size] for name, (first, size) in header["parts"].items()
    }


def panes(app: AppTest) -> list[dict[str, Any]]:
    """The panes of a page's viewer: alt text, caption and layers; none without a viewer."""
    return [
        pane
        for viewer in app.get("bidi_component")
        for pane in unpack(viewer.proto.bytes)[0].get("panes", [])
    ]


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def open_page(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open a page through the router, with the models of a folder and the notice accepted."""
    st.cache_resource.clear()

    def opener(path: str, weights: Path, accept: bool = True) -> AppTest:
        monkeypatch.setenv("COVIDXR_WEIGHTS", str(weights))
        app = AppTest.from_file(str(repository / "streamlit_app.py"), default_timeout=60).run()
        app.session_state["notice accepted"] = accept
        return app.switch_page(path).run()

    return opener


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Write a phantom as PNG."""

    def encode(class_name: str, size: tuple[int, int] | None = None) -> bytes:
        image = Image.fromarray(sample_phantom(class_name))
        content = io.BytesIO()
        (image.resize(size) if size else image).save(content, "PNG")
        return content.getvalue()

    return encode


@pytest.fixture(scope="session")
def texts() -> Callable[[AppTest], str]:
    """Collect the texts of a page."""

    def collect(app: AppTest) -> str:
        kinds = (
            app.title,
            app.subheader,
            app.markdown,
            app.caption,
            app.error,
            app.warning,
            app.info,
        )
        return "\n".join(element.value for elements in kinds for element in elements)

    return collect
