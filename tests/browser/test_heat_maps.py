"""A reader asks for reasons: another method, another class, two classes side by side, in a real browser."""

import re

import pytest

from tests.browser.conftest import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PICTURES, READY = ".lightbox canvas", ".stage[aria-busy=false]"
WHERE = re.compile(r"of the map lies inside the lungs|Nothing of the map")


@pytest.fixture
def lungs_server(lungs_folder, phantoms, tmp_path, port):
    with serve(
        port, tmp_path / "server.log", COVIDXR_WEIGHTS=lungs_folder, COVIDXR_DATASET=phantoms
    ) as address:
        yield address


def drawn(tab, k):
    """What a pane of the viewer shows."""
    tab.locator(READY).wait_for()
    return tab.locator(PICTURES).nth(k).evaluate("canvas => canvas.toDataURL()")


def choose(tab, label, option):
    """Choose an option of a select box by its label, when the page rests: what is drawn anew under a click loses it."""
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
    tab.get_by_role("button", name="COVID", exact=True).click()
    tab.locator(READY).wait_for()
    where = tab.get_by_text(WHERE).first
    where.wait_for()
    tab.get_by_text("Grad-CAM, 11 x 11 grid").wait_for()
    first = (drawn(tab, 1), where.inner_text())

    choose(tab, "Method", "Occlusion")
    tab.get_by_text(re.compile(r"Brighter speaks for .*Occlusion, \d+ x \d+ grid")).wait_for()
    second = (drawn(tab, 1), where.inner_text())
    assert all(one != other for one, other in zip(first, second, strict=True))

    called = tab.get_by_label("Why", exact=True).input_value()
    other = "Normal" if called != "Normal" else "COVID"
    choose(tab, "Why", other)
    tab.get_by_text(
        re.compile(rf"speaks? for {other}.*Occlusion|spoke for {other} \(Occlusion")
    ).wait_for()
    assert drawn(tab, 1) != second[0]

    choose(tab, "and not", "Viral Pneumonia")
    tab.locator(PICTURES).nth(2).wait_for()
    assert (
        tab.locator(PICTURES).nth(2).get_attribute("aria-label")
        == "The same picture under the heat map for Viral Pneumonia"
    )
    tab.get_by_text(re.compile(r"^Viral Pneumonia: ")).wait_for()
    assert sideways() == 0
    assert errors == []
