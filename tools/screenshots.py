"""Take the screenshots of the documentation: `python tools/screenshots.py ADDRESS [PAGE...]`.

ADDRESS is that of a running app. All pages but home and heat-maps need models and a dataset of
phantoms, since no radiograph of a patient may be published; these two show the models in weights/
and no images.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

SHOTS: tuple[tuple[str, Literal["dark", "light"], int, int], ...] = (
    ("dark", "dark", 1440, 900),
    ("light", "light", 1440, 900),
    ("phone", "dark", 400, 850),
)
"""Name, color scheme, width and height."""
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"


def main(address: str, stems: list[str]) -> None:
    """Save pages, dark and light, and as a phone shows it."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        for name, scheme, width, height in SHOTS:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.set_default_timeout(120_000)
            for stem in stems or PAGES:
                page.goto(f"{address}/{_PATHS.get(stem, stem)}")
                PAGES[stem](page)
                # Tables are painted on a canvas, which does not tell when it is done.
                page.wait_for_timeout(2000)
                page.mouse.move(0, 0)
                page.screenshot(path=FOLDER / f"{stem}-{name}.png")
        browser.close()


def open_home(page: Page) -> None:
    """Wait for the table of models."""
    page.get_by_test_id("stDataFrame").first.wait_for()


def open_predict(page: Page) -> None:
    """Accept the notice, ask for a phantom and wait for its heat map."""
    page.get_by_role("button", name="I understand").click()
    page.get_by_role("button", name="COVID-19", exact=True).click()
    page.locator(".stage[aria-busy=false]").wait_for()
    page.locator(".barlayer .point").nth(3).wait_for()
    page.get_by_text("in the lungs").or_(page.get_by_text("inside the lungs")).first.wait_for()
    page.get_by_test_id("stPlotlyChart").first.scroll_into_view_if_needed()


def open_heat_maps(page: Page) -> None:
    """Open the section of Evaluate on heat maps."""
    page.get_by_role("radio", name="Heat maps", exact=True).click()
    page.get_by_text("Deletion", exact=True).wait_for()
    page.locator(".js-plotly-plot .xtick").nth(10).wait_for(state="attached")
    page.get_by_text("Localization:").first.scroll_into_view_if_needed()
    page.get_by_test_id("stMain").evaluate("main => main.scrollBy(0, 420)")


def open_evaluate(page: Page) -> None:
    """Click the cell of the matrix that holds the most errors, and ask for the first heat map."""
    cells = page.get_by_test_id("stPlotlyChart").first.locator(".scatterlayer .point")
    cells.nth(15).wait_for(state="attached")
    labels = [
        int(text.replace(",", "")) for text in page.locator(".annotation-text").all_text_contents()
    ]
    worst = max((i for i in range(16) if i % 5), key=lambda i: labels[i])
    page.get_by_test_id("stPlotlyChart").first.scroll_into_view_if_needed()
    box = cells.nth(worst).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_role("button", name="Show all errors").wait_for()
    page.get_by_text("Heat map").first.click()
    page.get_by_text("x 11 grid").first.wait_for()


def open_dataset(page: Page) -> None:
    """Work the audit out, and wait for its last table."""
    page.get_by_text("Location:").wait_for()
    page.get_by_text("Audit", exact=True).click()
    page.get_by_text("Mean image and standard deviation per class").wait_for()


def open_train(page: Page) -> None:
    """Start a run, unless one is going on already, and wait for its curves."""
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    cancel.or_(page.get_by_text("More settings")).first.wait_for()
    if not cancel.is_visible():
        page.get_by_text("New run").click()
        page.get_by_text("More settings").click()
        for name, value in (("Epochs", "2000"), ("Batch size", "16"), ("Patience", "2000")):
            page.get_by_role("spinbutton", name=name, exact=True).fill(value)
            page.get_by_role("spinbutton", name=name, exact=True).press("Enter")
            page.get_by_text(f"{value} --").wait_for()
        page.get_by_role("button", name="Start training").click()
    page.get_by_text(re.compile(r"Epoch \d+ of")).first.wait_for()
    page.locator(".js-plotly-plot .xtick").first.wait_for(state="attached")


def open_compare(page: Page) -> None:
    """Wait for the paired tests and the matrices."""
    page.get_by_text("fewer").first.wait_for()
    page.locator(".js-plotly-plot .xtick").first.wait_for(state="attached")


_PATHS = {"home": "", "heat-maps": "evaluate"}
PAGES = {
    "home": open_home,
    "dataset": open_dataset,
    "train": open_train,
    "predict": open_predict,
    "evaluate": open_evaluate,
    "heat-maps": open_heat_maps,
    "compare": open_compare,
}

if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2:])
