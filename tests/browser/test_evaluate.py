"""Evaluate and Compare in a real browser."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from covidxr.app.compare.sections import SECTIONS
from covidxr.models import store

pytestmark = [pytest.mark.browser, pytest.mark.slow]
IMAGES = "[data-testid=stMain] [data-testid=stImage] img"


def matrix_of(root, model_id):
    """Count test samples by (true class, predicted class)."""
    part = store.read_predictions(root / model_id).take("test")
    counts: dict[tuple[int, int], int] = {}
    for cell in zip(part.y_true.tolist(), part.y_pred.tolist(), strict=True):
        counts[cell] = counts.get(cell, 0) + 1
    return counts


def images_of(tab, expected):
    """Return the alt texts of the gallery's images, over all of its pages."""
    seen: set[str] = set()
    for page in range(1, -(-expected // 6) + 1):
        if page > 1:
            tab.get_by_test_id("stPagination").get_by_role(
                "button", name=re.compile("next", re.IGNORECASE)
            ).click()
        found = tab.wait_for_function(
            """([selector, n, seen]) => {
                if (!document.querySelector("[data-test-script-state=notRunning]")) return false;
                const found = new Set([...document.querySelectorAll(selector)].map(i => i.alt));
                return found.size === n && seen.every(alt => !found.has(alt)) && [...found];
            }""",
            arg=[IMAGES, min(6, expected - len(seen)), sorted(seen)],
        )
        seen |= set(found.json_value())
    return seen


def test_a_clicked_cell_shows_exactly_its_images(server, tab, sideways, errors, two_models):
    tab.goto(f"{server}/evaluate")
    tab.get_by_role("heading", name="Evaluate").wait_for()
    cells = tab.get_by_test_id("stPlotlyChart").first.locator(".scatterlayer .point")
    cells.nth(15).wait_for(state="attached")
    counts = matrix_of(two_models, store.list_models(two_models)[0].model_id)
    wrong = sum(n for (true, predicted), n in counts.items() if true != predicted)
    tab.get_by_role("heading", name=f"{wrong} errors").wait_for()
    assert len(images_of(tab, wrong)) == wrong

    for (true, predicted), n in sorted(counts.items(), key=lambda item: -item[1])[:2]:
        box = cells.nth(4 * true + predicted).bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.get_by_role("heading", name=re.compile(rf"^{n} images? of ")).wait_for()
        assert len(images_of(tab, n)) == n
    tab.get_by_role("radio", name="Shortcuts", exact=True).click()
    tab.get_by_text("only within-source comparisons").wait_for()
    tab.get_by_role("heading", name=re.compile(rf"^{n} images? of ")).wait_for()
    tab.get_by_text("Heat map").first.click()
    tab.get_by_text(re.compile("11 x 11")).wait_for()
    tab.get_by_role("button", name="Show all errors").click()
    tab.get_by_role("heading", name=f"{wrong} errors").wait_for()
    assert sideways() == 0
    assert errors == []


def test_downloads(server, tab, two_models):
    tab.goto(f"{server}/evaluate")
    saved = {}
    for label in ("All metrics (JSON)", "All predictions (CSV)"):
        with tab.expect_download() as download:
            tab.get_by_role("button", name=label).click()
        saved[label] = Path(download.value.path()).read_text("utf-8")
    metrics = json.loads(saved["All metrics (JSON)"])
    rows = list(csv.DictReader(io.StringIO(saved["All predictions (CSV)"])))
    assert len(rows) == metrics["n"] == 24
    assert sum(row["y_true"] == row["y_pred"] for row in rows) / 24 == pytest.approx(
        metrics["accuracy"]["estimate"]
    )
    assert metrics["model_id"] in {entry.model_id for entry in store.list_models(two_models)}


@pytest.mark.parametrize("width", [1440, 400])
def test_compare_opens_every_section(server, tab, sideways, errors, width):
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(f"{server}/compare")
    tab.get_by_text(re.compile("fewer")).first.wait_for()
    for section in reversed(SECTIONS):
        tab.get_by_role("radio", name=section, exact=True).click()
        tab.wait_for_timeout(1500)
        assert sideways() == 0, section
    assert errors == []
