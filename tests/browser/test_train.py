"""Training in a real browser, with a restart of the server during the run."""

import re
from collections.abc import Callable

import pytest

from covidxr.models.architectures import architecture_title
from tests.browser.conftest import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def fill(tab, name: str, value: int) -> None:
    field = tab.get_by_role("spinbutton", name=name, exact=True)
    field.fill(str(value))
    field.press("Enter")


def epoch(tab) -> int:
    """Return the epoch shown by the progress bar."""
    bar = tab.get_by_test_id("stProgress")
    bar.get_by_text("Epoch").wait_for()
    found = re.search(r"Epoch (\d+)", bar.inner_text())
    assert found is not None
    return int(found[1])


def curve_end(tab) -> int:
    """Return the last epoch below the macro-F1 curve."""
    ticks = tab.get_by_test_id("stPlotlyChart").nth(2).locator(".xtick")
    ticks.first.wait_for(state="attached")
    return max(int(text) for text in ticks.all_text_contents())


def grow(tab, value: Callable[..., int], beyond: int) -> int:
    """Wait until a value on the page exceeds another."""
    for _ in range(120):
        if (now := value(tab)) > beyond:
            return now
        tab.wait_for_timeout(500)
    raise AssertionError(f"{value.__name__} stays at {beyond}")


def test_start_follow_restart_cancel_resume_and_publish(
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
        tab.get_by_text(re.compile("epochs must be .*got 0", re.IGNORECASE)).wait_for()
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
        # The run continued without a server.
        again = grow(tab, epoch, later)
        # Until here the browser reported the missing server.
        errors.clear()
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
        tab.get_by_role("button", name="Publish as model").click()
        tab.get_by_role("textbox", name="Model name").fill("from-the-page")
        tab.get_by_role("button", name="Evaluate and publish").click()
        tab.get_by_role("button", name="Analyze an image").click()
        tab.get_by_role("heading", name="Predict").wait_for()
        sidebar = tab.get_by_test_id("stSidebar")
        sidebar.get_by_text(architecture_title("poster_cnn")).wait_for()
        assert sidebar.locator("input").first.input_value() == "from-the-page"
        accept()
        tab.get_by_role("button", name="COVID-19", exact=True).click()
        tab.locator(".stage[aria-busy=false]").wait_for()
        assert errors == []
