"""Where things are kept: every environment variable of covidxr, in one table."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import platformdirs

import covidxr
from covidxr.storage import new_folder

VARIABLES = {
    "COVIDXR_WEIGHTS": "Folder of the stored models.",
    "COVIDXR_MODELS_URL": "Address (http or https) that `covidxr models fetch` downloads from.",
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
    """Return the folder of the stored models: COVIDXR_WEIGHTS, else the checkout's `weights/`.

    A wheel has no checkout. Its models are copied to the user's data folder, where fetched and
    published models are stored as well: the package's own folder may be read-only, and an upgrade
    replaces it.
    """
    if named := variable("COVIDXR_WEIGHTS"):
        return Path(named)
    bundle = checkout() / "covidxr" / "weights"
    if not bundle.is_dir():
        return checkout() / "weights"
    folder = Path(platformdirs.user_data_dir("covidxr")) / "weights"
    copy_bundled(bundle, folder, covidxr.__version__)
    return folder


def copy_bundled(bundle: Path, folder: Path, version: str) -> None:
    """Copy the models of an installed wheel into a weights folder, once per version.

    A model of the same id that is stored there stays as it is; a deleted one comes back with the
    next version only.
    """
    from filelock import FileLock

    mark = folder / f".bundled-{version}"
    if mark.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".bundled.lock"):
        for source in () if mark.exists() else sorted(bundle.iterdir()):
            target = folder / source.name
            if source.is_dir() and not target.exists():
                with new_folder(target) as new:
                    shutil.copytree(source, new, dirs_exist_ok=True)
            elif source.is_file() and not target.exists():
                shutil.copyfile(source, target)
        mark.touch()


def models_url() -> str:
    """Return the address to fetch models from: COVIDXR_MODELS_URL, or an empty string."""
    return variable("COVIDXR_MODELS_URL")


def runs_folder() -> Path:
    """Return the folder of the runs: COVIDXR_RUNS, else `runs/` in the working folder."""
    return Path(variable("COVIDXR_RUNS") or "runs").resolve()


def logs_uses() -> bool:
    """Whether each use of a model is logged: unless COVIDXR_LOG is `off`."""
    return variable("COVIDXR_LOG").lower() != "off"
