"""Browsing a dataset in a real browser: filters, one image, its near-duplicates and the audit."""

import shutil

import pytest

from tests.browser.conftest import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]
IMAGES = "[data-testid=stImage] img"
COMPLETE = f"""() => !document.querySelector("[data-testid=stApp][data-test-script-state=running]")
    && [...document.querySelectorAll("{IMAGES}")].every(i => i.complete && i.naturalHeight)"""
"""Whether the script has ended and all images are loaded."""


def test_filter_the_gallery_open_an_image_and_find_its_near_duplicate(
    tab, phantoms, two_models, tmp_path, port, sideways, errors
):
    data = shutil.copytree(phantoms, tmp_path / "data")
    shutil.copy(data / "COVID/images/COVID-7.png", data / "COVID/images/COVID-907.png")
    variables = {"COVIDXR_WEIGHTS": two_models, "COVIDXR_DATASET": data}
    with serve(port, tmp_path / "server.log", **variables) as address:
        tab.goto(f"{address}/dataset")
        tab.get_by_text("Location:").wait_for()
        assert sideways() == 0
        tab.get_by_text("Browse", exact=True).click()
        tab.get_by_text("161 of 161 images").wait_for()
        tab.locator(IMAGES).nth(20).wait_for()
        # The server drops images that are still requested when the gallery is replaced.
        tab.wait_for_function(COMPLETE)
        tab.get_by_role("textbox", name="Search").fill("COVID-7.png")
        tab.keyboard.press("Enter")
        tab.get_by_text("1 of 161 images", exact=True).wait_for()
        tab.get_by_role("button", name="COVID-7", exact=True).click()
        tab.get_by_text("leading principal components").wait_for()
        # An image that loads late moves what is below it.
        tab.wait_for_function(COMPLETE)
        tab.get_by_role("button", name="COVID-907", exact=True).first.click()
        tab.get_by_text("COVID/images/COVID-907.png").wait_for()
        tab.get_by_role("button", name="COVID-7", exact=True).first.wait_for()
        tab.get_by_role("button", name="Group: ").click()
        # COVID-8 is of the same patient.
        tab.get_by_text("3 of 161 images").wait_for()
        tab.wait_for_function(COMPLETE)
        tab.get_by_role("button", name="COVID-907", exact=True).click()
        tab.get_by_text("COVID/images/COVID-907.png").wait_for()
        alt = tab.locator(IMAGES).first.get_attribute("alt")
        assert alt == "COVID/images/COVID-907.png: COVID-19"

        tab.wait_for_function(COMPLETE)
        tab.get_by_text("Audit", exact=True).click()
        tab.get_by_text("Exact duplicates").first.wait_for()
        # The last of the standard deviations.
        tab.locator(IMAGES).nth(7).wait_for()
        tab.wait_for_function(COMPLETE)
        tab.get_by_role("button", name="View images").first.click()
        tab.get_by_text("2 of 161 images").wait_for()
        assert sideways() == 0
        assert errors == []
