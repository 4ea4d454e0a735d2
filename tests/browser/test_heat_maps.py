"""Heat maps of other methods and classes on Predict, in a real browser."""

import re

import pytest

from tests.browser.conftest import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CANVASES, READY = ".lightbox canvas", ".stage[aria-busy=false]"
LUNGS = re.compile(r"energy is within the lungs|No heat-map energy")


@pytest.fixture
def lungs_server(lungs_folder, phantoms, tmp_path, port):
    with serve(
        port, tmp_path / "server.log", COVIDXR_WEIGHTS=lungs_folder, COVIDXR_DATASET=phantoms
    ) as address:
        yield address


def drawn(tab, k):
    """The pixels of a pane of the viewer."""
    tab.locator(READY).wait_for()
    return tab.locator(CANVASES).nth(k).evaluate("canvas => canvas.toDataURL()")


def choose(tab, label, option):
    """Choose an option of a select box by its label, once the page has settled."""
    tab.locator("[data-test-script-state=notRunning]").wait_for(state="attached")
    tab.get_by_label(label, exact=True).scroll_into_view_if_needed()
    tab.wait_for_timeout(300)  # scrolling closes what is open
    tab.get_by_label(label, exact=True).click()
    tab.get_by_role("option", name=option, exact=True).click()


def test_another_method_and_class_change_the_map_and_the_sentence(
    lungs_server, tab, sideways, errors, accept
):
    tab.goto(f"{lungs_server}/predict")
    accept()
    tab.get_by_role("button", name="COVID-19", exact=True).click()
    tab.locator(READY).wait_for()
    lungs = tab.get_by_text(LUNGS).first
    lungs.wait_for()
    tab.get_by_text("Grad-CAM, 11 x 11 grid").wait_for()
    first = (drawn(tab, 1), lungs.inner_text())

    choose(tab, "Method", "Occlusion")
    tab.get_by_text(
        re.compile(r"Brighter: more evidence for .*Occlusion, \d+ x \d+ grid")
    ).wait_for()
    second = (drawn(tab, 1), lungs.inner_text())
    assert all(one != other for one, other in zip(first, second, strict=True))

    predicted = tab.get_by_label("Explain class", exact=True).input_value()
    other = "Normal" if predicted != "Normal" else "COVID-19"
    choose(tab, "Explain class", other)
    tab.get_by_text(re.compile(rf"evidence for {other}.*Occlusion")).wait_for()
    assert drawn(tab, 1) != second[0]

    choose(tab, "Compare with class", "Viral pneumonia")
    tab.locator(CANVASES).nth(2).wait_for()
    assert (
        tab.locator(CANVASES).nth(2).get_attribute("aria-label")
        == "Input image with heat map for Viral pneumonia"
    )
    tab.get_by_text(re.compile(r"^Viral pneumonia: ")).wait_for()
    assert sideways() == 0
    assert errors == []
