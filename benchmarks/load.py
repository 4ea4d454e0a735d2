"""Eight sessions that predict and explain at once for a minute: the real server, Chromium, and every answer beside the serial one.

Each session drops one radiograph after another on Predict and takes home the figures and the heat map. Afterwards the same files
are judged one by one, in this process; what differs, and every complaint of browser and server, is counted.

    pip install playwright
    python benchmarks/load.py --data COVID-19_Radiography_Dataset --model covidxr-resnet18
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
from covidxr.prediction.worklist import list_pictures

REPOSITORY = Path(__file__).resolve().parents[1]
SESSIONS, PORT = 8, 8598
Answer = tuple[Path, dict[str, object], bytes, float]
"""A file, the figures and the heat map that the page gave of it, and the seconds it took; no figures where it was refused."""


async def take(page: Page, title: str, again: list[str]) -> bytes:
    """Press a button and return the file that it gives; again, if the browser breaks the download off."""
    for _ in range(5):
        async with page.expect_download() as found:
            await page.get_by_role("button", name=title).click()
        download = await found.value
        why = await download.failure()
        if not why:
            return Path(await download.path()).read_bytes()
        again.append(why)
    raise SystemExit(f"{title} was not to be had: {again[-1]}")


async def ask(page: Page, file: Path, again: list[str]) -> Answer:
    """Drop a file and return what the page says of it."""
    started = time.monotonic()
    await page.locator("input[type=file]").first.set_input_files(file)
    offered = page.get_by_role("button", name="Results (JSON)")
    await offered.or_(page.get_by_text("Input check failed")).first.wait_for()
    await page.locator("[data-test-script-state=notRunning]").wait_for(state="attached")
    figures, heat = {}, b""
    if await offered.count():
        figures = json.loads(await take(page, "Results (JSON)", again))
        heat = await take(page, "Heat map (PNG)", again)
    seconds = time.monotonic() - started
    await page.get_by_role("button", name="Remove").first.click()
    await page.get_by_text("No image at hand?").wait_for()
    await offered.or_(page.get_by_text("Input check failed")).first.wait_for(state="detached")
    return file, figures, heat, seconds


async def session(
    browser: Browser,
    address: str,
    files: list[Path],
    until: float,
    complaints: list[str],
    again: list[str],
) -> list[Answer]:
    page = await (await browser.new_context(accept_downloads=True)).new_page()
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # Streamlit looks for its own address below the page's first.
    page.on(
        "console",
        lambda m: (
            complaints.append(m.text)
            if m.type == "error" and "_stcore" not in m.location["url"]
            else None
        ),
    )
    await page.goto(f"{address}/predict")
    await page.get_by_role("button", name="I understand").click()
    await page.get_by_text("No image at hand?").wait_for()
    answers = []
    for file in files:
        if time.monotonic() > until:
            break
        answers.append(await ask(page, file, again))
    return answers


async def all_sessions(
    address: str, files: list[Path], seconds: float, complaints: list[str], again: list[str]
) -> list[Answer]:
    async with async_playwright() as playwright:
        executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = await playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        until = time.monotonic() + seconds
        own = [files[number::SESSIONS] for number in range(SESSIONS)]
        found = await asyncio.gather(
            *(session(browser, address, mine, until, complaints, again) for mine in own)
        )
        await browser.close()
    return list(itertools.chain(*found))


def alone(model: Classifier, file: Path) -> tuple[dict[str, float], tuple[str, ...], np.ndarray]:
    """What one reader gets: probabilities, refusals, and the heat map as a picture."""
    image = read_image(file.read_bytes(), file.name)
    case = model.predict(image)
    attribution = explain(model, image, case.predicted)
    return (
        dict(case.probabilities),
        case.refusals,
        heat_overlay(fit_screen(image), attribution.heat, 0.6),
    )


def differs(model: Classifier, answer: Answer) -> bool:
    file, figures, heat, _ = answer
    probabilities, refusals, overlay = alone(model, file)
    if not figures:
        return not refusals
    same = (
        figures["input_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        and figures["probabilities"] == probabilities
    )
    return not same or not np.array_equal(np.asarray(Image.open(io.BytesIO(heat))), overlay)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of pictures")
    parser.add_argument("--model", default="covidxr-resnet18")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        pictures = list_pictures([arguments.data], stack)
        files = []
        for number in np.random.default_rng(0).permutation(len(pictures))[:800]:
            files.append(Path(scratch) / f"{number}.png")
            files[-1].write_bytes(pictures[number].read())
        weights = Path(scratch) / "weights"
        for name in (
            arguments.model,
            "covidxr-lungs",
        ):  # so that the model is the one that Predict opens with
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
        complaints: list[str] = []
        again: list[str] = []
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            answers = asyncio.run(
                all_sessions(
                    f"http://127.0.0.1:{PORT}", files, arguments.seconds, complaints, again
                )
            )
        finally:
            server.kill()
            server.wait()
        model = load_classifier(arguments.model)
        result = {
            "model": arguments.model,
            "sessions": SESSIONS,
            "seconds": arguments.seconds,
            "answers": len(answers),
            "refused": sum(not figures for _, figures, _, _ in answers),
            "unlike_the_serial_ones": sum(differs(model, answer) for answer in answers),
            "complaints_of_the_browser": complaints,
            "downloads_broken_off": again,
            "tracebacks_of_the_server": (Path(scratch) / "server.log")
            .read_text("utf-8")
            .count("Traceback"),
            "seconds_an_answer": {
                "median": statistics.median(seconds for *_, seconds in answers),
                "worst": max(seconds for *_, seconds in answers),
            },
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
