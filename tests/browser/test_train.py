"""A reader trains on the Train page, in a real browser, and the server is restarted under the run."""

import re
from collections.abc import Callable

import pytest

from tests.browser.conftest import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def fill(tab, name: str, value: int) -> None:
    field = tab.get_by_role("spinbutton", name=name, exact=True)
    field.fill(str(value))
    field.press("Enter")


def epoch(tab) -> int:
    """The epoch that the progress bar names."""
    bar = tab.get_by_test_id("stProgress")
    bar.get_by_text("Epoch").wait_for()
    return int(re.search(r"Epoch (\d+)", bar.inner_text())[1])


def curve_end(tab) -> int:
    """The last epoch named below the macro-F1 curve."""
    ticks = tab.get_by_test_id("stPlotlyChart").nth(2).locator(".xtick")
    ticks.first.wait_for(state="attached")
    return max(int(text) for text in ticks.all_text_contents())


def grow(tab, figure: Callable[..., int], beyond: int) -> int:
    """Wait until a figure of the page is beyond a value."""
    for _ in range(120):
        if (now := figure(tab)) > beyond:
            return now
        tab.wait_for_timeout(500)
    raise AssertionError(f"{figure.__name__} stays at {beyond}")


def test_start_watch_restart_cancel_resume_and_find_the_model_on_predict(
    tab, phantoms, tmp_path, port, sideways, errors, accept
):
    variables = {
        "COVIDXR_WEIGHTS": tmp_path / "weights",
        "COVIDXR_RUNS": tmp_path / "runs",
        "COVIDXR_DATASET": phantoms,
    }
    with serve(port, tmp_path / "server.log", **variables) as address:
        tab.goto(f"{address}/train")
        tab.get_by_role("heading", name="Train", exact=True).wait_for()
        fill(tab, "Epochs", 0)
        tab.get_by_text("epochs must be 1 or more, got 0").wait_for()
        fill(tab, "Epochs", 5000)
        tab.get_by_text("--epochs 5000").wait_for()
        tab.get_by_text("More settings").click()
        fill(tab, "Patience", 5000)
        tab.get_by_text("--patience 5000").wait_for()
        tab.get_by_role("button", name="Start training").click()
        first = grow(tab, epoch, 2)
        grow(tab, curve_end, curve_end(tab))
        later = grow(tab, epoch, first)
        assert sideways() == 0
    tab.get_by_text("Connection error").first.wait_for()

    with serve(port, tmp_path / "server.log", **variables) as address:
        tab.goto(f"{address}/train")
        again = grow(tab, epoch, later)  # the run went on without a server, and the page finds it
        errors.clear()  # until then the browser complained of the server that was gone
        tab.get_by_role("button", name="Cancel", exact=True).click()
        tab.get_by_role("button", name="Resume").wait_for()
        tab.get_by_role("button", name="Resume").click()
        grow(tab, epoch, again)
        tab.get_by_role("button", name="Cancel", exact=True).click()
        tab.get_by_role("button", name="Resume").wait_for()

        tab.get_by_text("New run").click()
        fill(tab, "Epochs", 3)
        tab.get_by_text("--epochs 3").wait_for()
        tab.get_by_role("button", name="Start training").click()
        tab.get_by_role("button", name="Make it a model").click()
        tab.get_by_role("textbox", name="Name of the model").fill("from-the-page")
        tab.get_by_role("button", name="Judge and store").click()
        tab.get_by_role("button", name="Try it on a picture").click()
        tab.get_by_role("heading", name="Predict").wait_for()
        sidebar = tab.get_by_test_id("stSidebar")
        sidebar.get_by_text("Small CNN of the study").wait_for()
        assert sidebar.locator("input").first.input_value() == "from-the-page"
        accept()
        tab.get_by_role("button", name="COVID", exact=True).click()
        tab.locator(".stage[aria-busy=false]").wait_for()
        assert errors == []
