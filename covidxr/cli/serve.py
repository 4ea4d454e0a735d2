"""The command that starts the app: app."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

import covidxr
from covidxr.errors import ConfigError


def router() -> Path:
    """Return the app's entry script: in an installed wheel, else in the checkout.

    Raises:
        ConfigError: Neither has one.
    """
    package = Path(covidxr.__file__).resolve().parent
    for folder in (package / "site", package.parent):
        if (folder / "streamlit_app.py").is_file():
            return folder / "streamlit_app.py"
    raise ConfigError(
        f"there is no streamlit_app.py in {package / 'site'} or {package.parent}; "
        "install covidxr from its wheel or its repository"
    )


def app(
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8501,
    address: Annotated[
        str,
        typer.Option(
            help="Address to listen on: 127.0.0.1 serves this machine only, 0.0.0.0 the network."
        ),
    ] = "127.0.0.1",
    headless: Annotated[
        bool, typer.Option("--headless", help="Do not open a browser window.")
    ] = False,
) -> None:
    """Start the app. Ctrl+C stops it.

    Example: covidxr app --port 8600
    """
    options = {
        "server.port": str(port),
        "server.address": address,
        "server.headless": str(headless).lower(),
        "server.showEmailPrompt": "false",
    }
    sys.argv = ["streamlit", "run", str(router())]
    sys.argv += [part for name, value in options.items() for part in (f"--{name}", value)]
    # `python -m streamlit` in this process, so that signals reach the server.
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
