"""The command app."""

from __future__ import annotations

import runpy
import sys

import pytest

from covidxr.cli import app
from covidxr.cli.serve import router
from tests.cli.conftest import RUNNER


def test_the_app_is_started_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, list[str]] = {}
    monkeypatch.setattr(sys, "argv", ["covidxr"])
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: started.update({name: sys.argv}))
    RUNNER.invoke(app, ["app", "--port", "8600", "--headless"], catch_exceptions=False)
    assert router().is_file()
    assert started["streamlit"][:3] == ["streamlit", "run", str(router())]
    words = " ".join(started["streamlit"][3:])
    assert "--server.port 8600 --server.address 127.0.0.1 --server.headless true" in words
