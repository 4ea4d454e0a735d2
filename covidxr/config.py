"""Where things are kept: every environment variable of covidxr, in one table."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

import covidxr

VARIABLES = {
    "COVIDXR_WEIGHTS": "Folder of the stored models.",
    "COVIDXR_RUNS": "Folder of the training runs; otherwise runs/ in the working folder.",
    "COVIDXR_CACHE": "Folder for decoded images and other derived data.",
    "COVIDXR_DATASET": "Dataset that the pages open first.",
    "COVIDXR_PRETRAINED": "File of ImageNet weights (safetensors), for machines without internet.",
    "COVIDXR_LOG": "`off` switches the usage log off.",
}
"""Name and meaning. COVIDXR_DATA, for tests alone, names the folder of the development data."""


def variable(name: str) -> str:
    """Return the value of one of `VARIABLES`, or an empty string where it is not set."""
    assert name in VARIABLES, name
    return os.environ.get(name, "").strip()


def checkout() -> Path:
    """Return the folder that holds the package: the repository, or site-packages."""
    return Path(covidxr.__file__).resolve().parents[1]


def cache_folder() -> Path:
    """Return the folder for derived data: COVIDXR_CACHE, else the user's cache folder."""
    return Path(variable("COVIDXR_CACHE") or platformdirs.user_cache_dir("covidxr"))


def weights_folder() -> Path:
    """Return the folder of the stored models: COVIDXR_WEIGHTS, else `weights/` by the package."""
    return Path(variable("COVIDXR_WEIGHTS") or checkout() / "weights")


def runs_folder() -> Path:
    """Return the folder of the runs: COVIDXR_RUNS, else `runs/` in the working folder."""
    return Path(variable("COVIDXR_RUNS") or "runs").resolve()


def logs_uses() -> bool:
    """Whether each use of a model is logged: unless COVIDXR_LOG is `off`."""
    return variable("COVIDXR_LOG").lower() != "off"
