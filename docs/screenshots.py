"""Make the pictures of the documentation anew: `python docs/screenshots.py ADDRESS` of a running app whose model knows phantoms."""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent


def main(address: str) -> None:
    """Save Home and Predict, dark and light, and Predict as a phone shows it."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for name, scheme, width, height in (
            ("dark", "dark", 1440, 900),
            ("light", "light", 1440, 900),
            ("phone", "dark", 400, 850),
        ):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.set_default_timeout(120_000)
            page.goto(address)
            page.get_by_test_id("stDataFrame").first.wait_for()
            page.wait_for_timeout(2000)  # tables paint on a canvas, which cannot be asked whether it has done so
            if name != "phone":
                page.screenshot(path=FOLDER / f"home-{name}.png")
            page.goto(f"{address}/predict")
            page.get_by_role("button", name="COVID", exact=True).click()
            page.locator("[data-testid=stImage] img").nth(1).wait_for()
            page.locator(".barlayer .point").nth(3).wait_for()
            page.wait_for_timeout(1000)
            page.mouse.move(0, 0)
            page.screenshot(path=FOLDER / f"predict-{name}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
