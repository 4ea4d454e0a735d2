"""A real server and a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# No sandbox: tests run as root in containers. The rest keeps Chromium from calling home.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)


@contextmanager
def serve(port: int, log: Path, **variables: Path) -> Iterator[str]:
    """Run the app with some environment variables and yield its address."""
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "streamlit_app.py",
        "--server.headless",
        "true",
        "--server.port",
        str(port),
    ]
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(20)


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(two_models: Path, phantoms: Path, tmp_path: Path, port: int) -> Iterator[str]:
    """Start the app with two phantom models, anew for each test, and return its address."""
    with serve(
        port, tmp_path / "server.log", COVIDXR_WEIGHTS=two_models, COVIDXR_DATASET=phantoms
    ) as address:
        yield address


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(480):
        assert process.poll() is None, "the server ended before it responded"
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the server did not respond within two minutes")


@pytest.fixture(scope="session")
def browser():
    """Chromium, or a skip."""
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not executable:
        pytest.skip("no Chromium (CHROMIUM names one)")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def errors() -> list[str]:
    """Console errors, external requests and exceptions of the browser."""
    return []


@pytest.fixture
def tab(browser, errors: list[str]):
    """A new tab, 1440 x 900, whose errors are recorded."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)

    def note(message) -> None:
        # At a deep link Streamlit first requests its own paths below the page, then one level up.
        if message.type == "error" and "_stcore" not in message.location.get("url", ""):
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if "127.0.0.1" in request.url or not request.url.startswith("http")
            else errors.append(request.url)
        ),
    )
    yield page
    page.close()


@pytest.fixture
def sideways(tab):
    """Pixels by which the page is wider than its window."""
    script = """() => Math.max(...["html", "[data-testid=stMain]"]
        .map(selector => document.querySelector(selector))
        .map(element => element.scrollWidth - element.clientWidth))"""
    return lambda: tab.evaluate(script)


@pytest.fixture
def accept(tab):
    """Accept the notice before uploads, as in each new session."""
    return lambda: tab.get_by_role("button", name="I understand").click()
