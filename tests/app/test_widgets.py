"""Widgets that several pages show."""

from types import SimpleNamespace

import streamlit as st

from covidxr.app import widgets


def test_progress_shows_the_time_left_and_disappears(monkeypatch):
    shown: list[object] = []
    bar = SimpleNamespace(
        progress=lambda share, text: shown.append((share, text)),
        empty=lambda: shown.append("removed"),
    )
    seconds = iter([0, 60, 60.1, 120])
    monkeypatch.setattr(st, "empty", lambda: bar)
    monkeypatch.setattr(widgets, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    with widgets.progress("Analyzing images") as watch:
        for done in (100, 101, 200):
            watch(done, 2000)
    assert shown == [
        (0.0, "Analyzing images…"),
        (0.05, "Analyzing images: 100 of 2,000, about 19 min left"),
        (0.1, "Analyzing images: 200 of 2,000, about 18 min left"),
        "removed",
    ]
