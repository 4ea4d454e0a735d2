"""The wheel: built from the repository, installed in an environment of its own, and used there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LIMIT = 100_000_000
"""Bytes: the largest file that package indexes accept by default."""
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and variables that keep it from everything else."""

    folder: Path
    wheel: Path
    variables: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        """The command line of the installed program."""
        return [str(self.folder / "env" / "bin" / "covidxr"), *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command and return what it prints."""
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel and install it. What it needs comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*build, str(REPOSITORY)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    # The .pth files of that folder are not read, so an editable install there has no effect.
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COVIDXR_", "PYTHON"))}
    kept |= {"XDG_DATA_HOME": str(folder / "data"), "COVIDXR_CACHE": str(folder / "cache")}
    return Installed(folder, wheel, kept)


def test_the_wheel_is_small_enough_to_publish(installed: Installed) -> None:
    assert installed.wheel.stat().st_size < LIMIT


def test_it_runs_its_own_version_and_finds_its_models(installed: Installed) -> None:
    from covidxr import __version__

    assert installed.run(*installed.command("--version")).strip() == __version__
    found = json.loads(installed.run(*installed.command("models", "--json")))["models"]
    manifest = json.loads((REPOSITORY / "covidxr/models/manifest.json").read_text("utf-8"))
    bundled = {model["model_id"] for model in manifest["models"] if model["bundled"]}
    assert {model["model_id"] for model in found} == bundled - {"covidxr-lungs"}
    assert all(model["ok"] for model in found)
    assert (installed.folder / "data/covidxr/weights/covidxr-lungs/model.safetensors").is_file()
    python = str(installed.folder / "env" / "bin" / "python")
    where = installed.run(python, "-c", "import covidxr; print(covidxr.__file__)")
    assert where.startswith(str(installed.folder))


def test_it_predicts(installed: Installed) -> None:
    from PIL import Image

    from covidxr.prediction.cases import sample_phantom

    path = installed.folder / "phantom.png"
    Image.fromarray(sample_phantom("COVID", seed=9)).save(path)
    command = installed.command("predict", "poster-resnet18-pretrained", str(path), "--json")
    (row,) = json.loads(installed.run(*command))["predictions"]
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_it_starts_the_app(installed: Installed) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = installed.folder / "app.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            installed.command("app", "--headless", "--port", str(port)),
            cwd=installed.folder,
            env=installed.variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            health = f"http://127.0.0.1:{port}/_stcore/health"
            assert wait_for(health, server) == 200, log.read_text()
        finally:
            server.terminate()
            server.wait(20)
    script = (
        "from pathlib import Path; import covidxr; from streamlit.testing.v1 import AppTest;"
        "router = Path(covidxr.__file__).parent / 'site' / 'streamlit_app.py';"
        "app = AppTest.from_file(str(router), default_timeout=60).run();"
        "assert not app.exception, app.exception; print(app.title[0].value)"
    )
    python = str(installed.folder / "env" / "bin" / "python")
    assert "covidxr" in installed.run(python, "-c", script)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> int | None:
    """Ask until the server answers, for at most 30 s; None where it ended or never did."""
    for _ in range(120):
        if server.poll() is not None:
            return None
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                return int(answer.status)
        except OSError:
            time.sleep(0.25)
    return None
