"""The documentation: builds without a warning, fetches nothing, and describes what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from covidxr import __version__
from covidxr.config import VARIABLES

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the website; mkdocs.yml makes every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_contains_the_reference_of_every_command(site: Path) -> None:
    text = (site / "cli.html").read_text("utf-8")
    for command in ("predict", "models", "app", "train", "dataset audit", "dataset import"):
        assert f'id="covidxr-{command.replace(" ", "-")}"' in text, command
    assert "COVIDXR_MODELS_URL" in text


def test_it_contains_the_api(site: Path) -> None:
    assert 'id="covidxr"' in (site / "api" / "index.html").read_text("utf-8")
    assert 'id="covidxr.models.fetch.fetch_models"' in (site / "api" / "models.html").read_text(
        "utf-8"
    )


def test_its_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:)?//', re.IGNORECASE
    )
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text("utf-8")), page


def test_it_lists_every_environment_variable() -> None:
    listed = set(re.findall(r"^\| `(COVIDXR_\w+)` \|", (DOCS / "deployment.md").read_text(), re.M))
    assert listed == set(VARIABLES) | {"COVIDXR_DATA"}


def test_every_image_is_used() -> None:
    text = "".join(
        path.read_text("utf-8") for path in [REPOSITORY / "README.md", *DOCS.rglob("*.md")]
    )
    used = set(re.findall(r"images/([\w-]+\.png)", text))
    there = {path.name for path in (DOCS / "images").iterdir()}
    assert used <= there
    themes = ("-light.png", "-phone.png")  # the other themes of pages that are shown
    assert {name for name in there - used if not name.endswith(themes)} == set()


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__
    released = f"## [{__version__}] - {citation['date-released']}"
    assert released in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_requirements_have_one_source_each() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    assert "dependencies" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["metadata"]["hooks"]["requirements_txt"]["files"] == [
        "requirements.txt"
    ]
    assert not (REPOSITORY / "requirements-dev.txt").exists()
