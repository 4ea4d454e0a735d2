"""A reader browses a dataset: filters the grid, opens a picture, and finds its twins; a real browser."""

import shutil

import pytest

from tests.browser.conftest import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PICTURES = "[data-testid=stImage] img"
WHOLE = f"""() => !document.querySelector("[data-testid=stApp][data-test-script-state=running]")
    && [...document.querySelectorAll("{PICTURES}")].every(picture => picture.complete && picture.naturalHeight)"""
"""Whether the page has been worked out and all of its pictures have come."""


def test_filter_the_grid_open_a_picture_and_find_its_twin(
    tab, phantoms, two_models, tmp_path, port, sideways, errors
):
    data = shutil.copytree(phantoms, tmp_path / "data")
    shutil.copy(data / "COVID/images/COVID-7.png", data / "COVID/images/COVID-907.png")
    variables = {"COVIDXR_WEIGHTS": two_models, "COVIDXR_DATASET": data}
    with serve(port, tmp_path / "server.log", **variables) as address:
        tab.goto(f"{address}/dataset")
        tab.get_by_text("Where it lies").wait_for()
        assert sideways() == 0
        tab.get_by_text("Browse", exact=True).click()
        tab.get_by_text("161 pictures of 161").wait_for()
        tab.locator(PICTURES).nth(20).wait_for()
        tab.wait_for_function(
            WHOLE
        )  # what is asked for after the next grid has taken its place is gone from the server
        tab.get_by_role("textbox", name="File or patient").fill("COVID-7.png")
        tab.keyboard.press("Enter")
        tab.get_by_text("1 picture of 161").wait_for()
        tab.get_by_role("button", name="COVID-7", exact=True).click()
        tab.get_by_text("By the leading principal components").wait_for()
        tab.wait_for_function(WHOLE)  # and a picture that comes late moves what is below it
        tab.get_by_role("button", name="COVID-907", exact=True).first.click()  # its twin, planted
        tab.get_by_text("COVID/images/COVID-907.png").wait_for()
        tab.get_by_role("button", name="COVID-7", exact=True).first.wait_for()
        tab.get_by_role("button", name="Its group").click()
        tab.get_by_text("3 pictures of 161").wait_for()  # COVID-8 is of the same patient
        tab.wait_for_function(WHOLE)
        tab.get_by_role("button", name="COVID-907", exact=True).click()
        tab.get_by_text("COVID/images/COVID-907.png").wait_for()
        assert (
            tab.locator(PICTURES).first.get_attribute("alt") == "COVID/images/COVID-907.png: COVID"
        )

        tab.wait_for_function(WHOLE)
        tab.get_by_text("Audit", exact=True).click()
        tab.get_by_text("Exact duplicates").first.wait_for()
        tab.locator(PICTURES).nth(7).wait_for()  # the last of its averages
        tab.wait_for_function(WHOLE)
        tab.get_by_role("button", name="Summary at them").first.click()
        tab.get_by_text("2 pictures of 161").wait_for()
        assert sideways() == 0
        assert errors == []
