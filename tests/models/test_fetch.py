"""Fetching released models: atomic, and only what the manifest lists."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from covidxr.config import copy_bundled
from covidxr.errors import ConfigError, ModelError
from covidxr.models import fetch, store
from covidxr.models.fetch import Manifest, ReleasedFile, ReleasedModel, fetch_models

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word, and a redirect to a local file."""

    def do_GET(self) -> None:
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", f"file://{self.directory}/small/card.json")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two small released models, `small` and `lungs-only`, which needs the first."""
    root, models = tmp_path / "released", []
    for name, needs in (("small", ()), ("lungs-only", ("small",))):
        (root / name).mkdir(parents=True)
        files = []
        for file in ("card.json", "model.safetensors"):
            content = f"{name} {file}".encode() * 1000
            (root / name / file).write_bytes(content)
            files.append(ReleasedFile(file, len(content), hashlib.sha256(content).hexdigest()))
        models.append(ReleasedModel(name, True, needs, tuple(files)))
    monkeypatch.setattr(fetch, "read_manifest", lambda: Manifest(1, tuple(models)))
    return root


@pytest.fixture
def url(released: Path) -> Iterator[str]:
    """The address of a local server of the released models."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(released))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def same(a: Path, b: Path) -> bool:
    return {p.name: p.read_bytes() for p in a.iterdir()} == {
        p.name: p.read_bytes() for p in b.iterdir()
    }


def test_a_model_is_fetched_with_what_it_needs(url: str, released: Path, tmp_path: Path) -> None:
    root, arrived = tmp_path / "weights", []
    found = fetch_models(
        root, ["lungs-only"], url=url + "/", progress=lambda *args: arrived.append(args)
    )
    assert [(one.model_id, one.state) for one in found] == [
        ("small", "fetched"),
        ("lungs-only", "fetched"),
    ]
    assert all(same(root / name, released / name) for name in ("small", "lungs-only"))
    assert sum(size for name, size in arrived if name == "small") == sum(
        path.stat().st_size for path in (released / "small").iterdir()
    )
    again = fetch_models(root, url="")  # nothing is missing, so no address is needed
    assert [one.state for one in again] == ["present", "present"]


@pytest.mark.parametrize("tampered", ["same length", "shorter", "longer"])
def test_a_tampered_file_is_rejected_and_nothing_is_stored(
    url: str, released: Path, tmp_path: Path, tampered: str
) -> None:
    path, root = released / "small" / "model.safetensors", tmp_path / "weights"
    content = path.read_bytes()
    path.write_bytes(
        {"same length": b"X" + content[1:], "shorter": content[:-1], "longer": content + b"X"}[
            tampered
        ]
    )
    with pytest.raises(ModelError, match=r"is not the released file.*nothing was stored"):
        fetch_models(root, ["small"], url=url)
    assert list(root.iterdir()) == []


def test_another_model_of_the_same_id_stays(url: str, tmp_path: Path) -> None:
    root = tmp_path / "weights"
    (root / "small").mkdir(parents=True)
    (root / "small" / "card.json").write_text("mine")
    with pytest.raises(ModelError, match="is not the released small; delete or rename it first"):
        fetch_models(root, ["small"], url=url)
    assert (root / "small" / "card.json").read_text() == "mine"


@pytest.mark.parametrize("address", ["file:///etc", "ftp://host/models", "weights", "http://"])
def test_only_http_addresses_are_followed(released: Path, tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="must be an http or https address"):
        fetch_models(tmp_path / "weights", ["small"], url=address)


def test_a_redirect_to_a_file_is_rejected(url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be fetched"):
        fetch_models(tmp_path / "weights", ["small"], url=f"{url}/redirect")
    assert not (tmp_path / "weights" / "small").exists()


def test_a_missing_file_is_named(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "weights"
    with pytest.raises(ModelError, match="HTTP 404"):
        fetch_models(root, ["small"], url=f"{url}/elsewhere")
    with pytest.raises(ModelError, match="'other' is not a released model; expected one of small"):
        fetch_models(root, ["other"], url=url)
    with pytest.raises(ModelError, match="cannot be fetched"):
        fetch_models(root, ["small"], url="http://127.0.0.1:1")
    monkeypatch.delenv("COVIDXR_MODELS_URL", raising=False)
    with pytest.raises(ConfigError, match="set COVIDXR_MODELS_URL"):
        fetch_models(root, ["small"])


def test_the_manifest_lists_the_committed_models() -> None:
    fetch.read_manifest.cache_clear()
    models = fetch.read_manifest().models
    assert models[0].model_id == "covidxr-resnet18"
    assert models[0].bundled
    for model in models:
        for file in model.files:
            content = (WEIGHTS / model.model_id / file.name).read_bytes()
            expected = (file.size, file.sha256)
            assert (len(content), hashlib.sha256(content).hexdigest()) == expected, (
                f"weights/{model.model_id}/{file.name} changed: run `make manifest`"
            )
    needs = {model.model_id: model.needs for model in models}
    assert needs["covidxr-resnet18-lungs"] == (store.LUNGS,)


def test_bundled_models_are_copied_once_per_version(released: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "weights"
    (released / "protocols.json").write_text("{}")
    (folder / "small").mkdir(parents=True)
    (folder / "small" / "card.json").write_text("mine")
    copy_bundled(released, folder, "1")
    assert (folder / "small" / "card.json").read_text() == "mine"
    assert same(folder / "lungs-only", released / "lungs-only")
    assert (folder / "protocols.json").is_file()
    (folder / "lungs-only" / "card.json").unlink()
    (folder / "lungs-only" / "model.safetensors").unlink()
    (folder / "lungs-only").rmdir()
    copy_bundled(released, folder, "1")
    assert not (folder / "lungs-only").exists()
    copy_bundled(released, folder, "2")
    assert (folder / "lungs-only").is_dir()


def test_the_command_fetches(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from covidxr.cli import main

    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COVIDXR_MODELS_URL", url)
    monkeypatch.setattr("sys.argv", ["covidxr", "models", "fetch", "small", "--json"])
    main()
    found = json.loads(capsys.readouterr().out)
    assert found["fetched"][0]["state"] == "fetched"
    monkeypatch.setattr("sys.argv", ["covidxr", "models", "list", "small", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert "belong to `covidxr models fetch`" in json.loads(capsys.readouterr().out)["error"]
