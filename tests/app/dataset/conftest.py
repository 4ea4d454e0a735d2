"""The Dataset page, opened on phantoms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest


@pytest.fixture
def open_section(
    open_page: Callable[..., AppTest],
    phantoms: Path,
    two_models: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., AppTest]:
    """Open one section of the page."""
    monkeypatch.setenv("COVIDXR_DATASET", str(phantoms))

    def opener(section: str, weights: Path = two_models) -> AppTest:
        app = open_page("pages/dataset.py", weights)
        return app.segmented_control(key="dataset part").set_value(section).run()

    return opener


@pytest.fixture(scope="session")
def click() -> Callable[[AppTest, str], AppTest]:
    """Click the first button whose label or key begins with a text."""

    def press(app: AppTest, start: str) -> AppTest:
        button = next(
            b for b in app.button if b.label.startswith(start) or (b.key or "").startswith(start)
        )
        return button.click().run()

    return press


@pytest.fixture(scope="session")
def tiles() -> Callable[[AppTest], list[str]]:
    """Collect the images of the gallery, by the names on their buttons."""

    def collect(app: AppTest) -> list[str]:
        return [
            button.label.replace("\\", "")
            for button in app.button
            if button.key and button.key.startswith("open ")
        ]

    return collect
