"""Eight concurrent sessions on the Predict page for a minute, with the real server and Chromium.

Each session uploads one radiograph after another and downloads the results and the heat map. Then
the same files are predicted one by one in this process. Different results, and all errors of
browser and server, are counted.

    pip install playwright
    python benchmarks/load.py --data COVID-19_Radiography_Dataset
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from covidxr.config import weights_folder
from covidxr.figures import fit_screen, heat_overlay
from covidxr.images.reading import read_image
from covidxr.models.classifier import Classifier
from covidxr.prediction.cases import explain
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.worklist import list_images

REPOSITORY = Path(__file__).resolve().parents[1]
SESSIONS, PORT = 8, 8598
Result = tuple[Path, dict[str, object], bytes, float]
"""A file, its results and heat map on the page, and the seconds; empty if it was rejected."""


async def download(page: Page, title: str, retries: list[str]) -> bytes:
    """Click a button and return the file; repeat if the browser aborts the download."""
    for _ in range(5):
        async with page.expect_download() as found:
            await page.get_by_role("button", name=title).click()
        file = await found.value
        failure = await file.failure()
        if not failure:
            return Path(await file.path()).read_bytes()
        retries.append(failure)
    raise SystemExit(f"{title} cannot be downloaded: {retries[-1]}")


async def predict(page: Page, file: Path, retries: list[str]) -> Result:
    """Upload a file and return its results on the page."""
    started = time.monotonic()
    await page.locator("input[type=file]").first.set_input_files(file)
    offered = page.get_by_role("button", name="Results (JSON)")
    await offered.or_(page.get_by_text("Show anyway")).first.wait_for()
    await page.locator("[data-test-script-state=notRunning]").wait_for(state="attached")
    results, heat = {}, b""
    if await offered.count():
        results = json.loads(await download(page, "Results (JSON)", retries))
        heat = await download(page, "Heat map (PNG)", retries)
    seconds = time.monotonic() - started
    await page.get_by_role("button", name="Remove").first.click()
    await page.get_by_text("No image at hand?").wait_for()
    await offered.or_(page.get_by_text("Show anyway")).first.wait_for(state="detached")
    return file, results, heat, seconds


async def session(
    browser: Browser,
    address: str,
    files: list[Path],
    until: float,
    errors: list[str],
    retries: list[str],
) -> list[Result]:
    page = await (await browser.new_context(accept_downloads=True)).new_page()
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Streamlit first looks for its server at the path of the page.
    page.on(
        "console",
        lambda m: (
            errors.append(m.text)
            if m.type == "error" and "_stcore" not in m.location["url"]
            else None
        ),
    )
    await page.goto(f"{address}/predict")
    await page.get_by_role("button", name="I understand").click()
    await page.get_by_text("No image at hand?").wait_for()
    results = []
    for file in files:
        if time.monotonic() > until:
            break
        results.append(await predict(page, file, retries))
    return results


async def all_sessions(
    address: str, files: list[Path], seconds: float, errors: list[str], retries: list[str]
) -> list[Result]:
    async with async_playwright() as playwright:
        executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = await playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        until = time.monotonic() + seconds
        own = [files[number::SESSIONS] for number in range(SESSIONS)]
        found = await asyncio.gather(
            *(session(browser, address, some, until, errors, retries) for some in own)
        )
        await browser.close()
    return list(itertools.chain(*found))


def alone(model: Classifier, file: Path) -> tuple[dict[str, float], tuple[str, ...], np.ndarray]:
    """Return the probabilities, refusals and overlay of a single session."""
    image = read_image(file.read_bytes(), file.name)
    case = model.predict(image)
    attribution = explain(model, image, case.predicted)
    return (
        dict(case.probabilities),
        case.rejections,
        heat_overlay(fit_screen(image), attribution.heat, 0.6),
    )


def differs(model: Classifier, result: Result) -> bool:
    file, results, heat, _ = result
    probabilities, refusals, overlay = alone(model, file)
    if not results:
        return not refusals
    same = (
        results["input_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        and results["probabilities"] == probabilities
    )
    return not same or not np.array_equal(np.asarray(Image.open(io.BytesIO(heat))), overlay)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of images")
    parser.add_argument("--model", default="covidxr-resnet18")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        images = list_images([arguments.data], stack)
        files = []
        for number in np.random.default_rng(0).permutation(len(images))[:800]:
            files.append(Path(scratch) / f"{number}.png")
            files[-1].write_bytes(images[number].read())
        weights = Path(scratch) / "weights"
        # Without other models: Predict opens with this one.
        for name in (arguments.model, "covidxr-lungs"):
            shutil.copytree(weights_folder() / name, weights / name)
        os.environ |= {"COVIDXR_WEIGHTS": str(weights), "COVIDXR_CACHE": f"{scratch}/cache"}
        command = [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            "streamlit_app.py",
            "--server.headless",
            "true",
        ]
        log = (Path(scratch) / "server.log").open("wb")
        server = subprocess.Popen(
            [*command, "--server.port", str(PORT)],
            cwd=REPOSITORY,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        errors: list[str] = []
        retries: list[str] = []
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            address = f"http://127.0.0.1:{PORT}"
            results = asyncio.run(all_sessions(address, files, arguments.seconds, errors, retries))
        finally:
            server.kill()
            server.wait()
        model = load_classifier(arguments.model)
        report = {
            "model": arguments.model,
            "sessions": SESSIONS,
            "seconds": arguments.seconds,
            "predictions": len(results),
            "rejected": sum(not found for _, found, _, _ in results),
            "different_from_serial": sum(differs(model, result) for result in results),
            "browser_errors": errors,
            "aborted_downloads": retries,
            "server_tracebacks": (Path(scratch) / "server.log")
            .read_text("utf-8")
            .count("Traceback"),
            "seconds_per_prediction": {
                "median": statistics.median(seconds for *_, seconds in results),
                "worst": max(seconds for *_, seconds in results),
            },
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
