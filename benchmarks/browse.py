"""Milliseconds per page of the Dataset page's gallery at 21,165 decoded images.

In Chromium: from the click on the next page until its last image is painted, with server and
browser on one machine. Server: the processor time per page, without network and browser
(Streamlit's test driver). The images are smooth noise. Writing and decoding them takes about two
minutes, which are not part of the results.

    pip install playwright
    python benchmarks/browse.py [IMAGES]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from streamlit.testing.v1 import AppTest

from covidxr.datasets.dataset import PUBLISHED_COUNTS
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.pixels import decode

REPOSITORY = Path(__file__).resolve().parents[1]
WHOLE, PAGES, TILES, PORT = 21_165, 20, 21, 8599
CLICK = """(tiles) => new Promise(done => {
    const images = () => [...document.querySelectorAll("[data-testid=stImage] img")];
    const before = images().map(image => image.src).join();
    const started = performance.now();
    document.querySelector("button[aria-label='Next page']").click();
    const look = () => {
        const now = images();
        const painted = image =>
            image.complete && image.naturalWidth && !before.includes(image.src);
        const ready = now.length === tiles && now.every(painted);
        requestAnimationFrame(ready ? () => done(performance.now() - started) : look);
    };
    look();
})"""


def write_noise(folder: Path, n: int) -> Path:
    """Write smooth noise, (128, 128) PNG, in the layout and proportions of the database."""
    random = np.random.default_rng(0)
    for name, count in PUBLISHED_COUNTS.items():
        images = folder / name / "images"
        images.mkdir(parents=True)
        for number in range(1, max(10, count * n // WHOLE) + 1):
            noise = Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8))
            noise.resize((128, 128), Image.Resampling.BICUBIC).save(
                images / f"{name}-{number}.png", compress_level=1
            )
    return folder


def in_browser(address: str) -> list[float]:
    """Return the milliseconds of each page."""
    with sync_playwright() as playwright:
        executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(f"{address}/dataset")
        page.get_by_text("Location:").wait_for()
        page.get_by_text("Browse", exact=True).click()
        page.wait_for_function(
            f"document.querySelectorAll('[data-testid=stImage] img').length === {TILES}"
        )
        page.wait_for_timeout(2000)
        times = []
        for _ in range(PAGES):
            times.append(page.evaluate(CLICK, TILES))
            page.wait_for_timeout(300)
        browser.close()
        return times


def on_server(n: int) -> list[float]:
    """Return the milliseconds of processor time of each page."""
    app = AppTest.from_file(str(REPOSITORY / "streamlit_app.py"), default_timeout=120).run()
    app.switch_page("pages/dataset.py").run()
    app.segmented_control(key="dataset part").set_value("Browse").run()
    times = []
    for number in range(2, PAGES + 2):
        app.session_state[f"browse page {n}"] = number
        started = time.process_time()
        app.run()
        times.append(1000 * (time.process_time() - started))
    return times


def main() -> None:
    """Print one JSON object."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else WHOLE
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"COVIDXR_CACHE": f"{scratch}/cache", "COVIDXR_DATASET": f"{scratch}/noise"}
        dataset = open_dataset(write_noise(Path(scratch) / "noise", n))
        decode(dataset, 128)
        find_near_duplicates(dataset, decode(dataset, THUMBNAIL))
        command = [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            "streamlit_app.py",
            "--server.headless",
            "true",
        ]
        server = subprocess.Popen(
            [*command, "--server.port", str(PORT)],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = f"http://127.0.0.1:{PORT}"
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            browser = in_browser(address)
        finally:
            server.kill()
            server.wait()
        server_times = on_server(len(dataset.samples))
    result = {
        "images": len(dataset.samples),
        "pages": PAGES,
        "browser_ms": {"median": statistics.median(browser), "worst": max(browser)},
        "server_processor_ms": {
            "median": statistics.median(server_times),
            "worst": max(server_times),
        },
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
