"""The released models: their manifest, and downloads that are checked against it."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from covidxr.config import models_url
from covidxr.errors import ConfigError, ModelError
from covidxr.storage import from_json, new_folder

MANIFEST = Path(__file__).with_name("manifest.json")
TIMEOUT = 60.0
"""Seconds without data after which a download fails."""
_SCHEMES = ("http", "https")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ReleasedFile:
    """One file of a released model."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ReleasedModel:
    """A released model."""

    model_id: str
    bundled: bool
    """Whether the wheel contains it."""
    needs: tuple[str, ...]
    """Ids of the models that it requires."""
    files: tuple[ReleasedFile, ...]

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Manifest:
    """All released models, the default one first."""

    schema_version: int
    models: tuple[ReleasedModel, ...]


@dataclass(frozen=True)
class Fetched:
    """The result for one model."""

    model_id: str
    state: str
    """`present` (stored before) or `fetched`."""
    folder: str


@cache
def read_manifest() -> Manifest:
    """Return the manifest of this version's models."""
    return from_json(Manifest, MANIFEST.read_text("utf-8"), MANIFEST.name)


def released(model_ids: Iterable[str] = ()) -> tuple[ReleasedModel, ...]:
    """Return released models with those that they require; all of them without ids.

    Raises:
        ModelError: For an id that was not released.
    """
    known = {model.model_id: model for model in read_manifest().models}
    wanted = list(model_ids) or list(known)
    for model_id in wanted:
        if model_id not in known:
            raise ModelError(
                f"{model_id!r} is not a released model; expected one of {', '.join(known)}"
            )
    needed = {other for model_id in wanted for other in known[model_id].needs}
    return tuple(known[name] for name in known if name in needed | set(wanted))


def fetch_models(
    root: Path,
    model_ids: Iterable[str] = (),
    *,
    url: str | None = None,
    progress: Callable[[str, int], None] = lambda model_id, size: None,
) -> tuple[Fetched, ...]:
    """Download released models into a weights folder, each one atomically.

    Args:
        root: The weights folder.
        model_ids: The models, all released ones by default. A model comes with its lung segmenter.
        url: The http(s) address that holds `MODEL/FILE`; COVIDXR_MODELS_URL by default.
        progress: Called with the model id and the number of bytes that arrived.

    Raises:
        ConfigError: No address, or not an http(s) one.
        ModelError: A model was not released, is stored with other content, cannot be downloaded,
            or does not match its sha256.
    """
    models = released(model_ids)
    found = {model.model_id: _state(root / model.model_id, model) for model in models}
    for model in models:
        if found[model.model_id] == "different":
            raise ModelError(
                f"{root / model.model_id} is not the released {model.model_id}; "
                "delete or rename it first"
            )
    missing = [model for model in models if found[model.model_id] != "present"]
    address = _checked(models_url() if url is None else url) if missing else ""
    for model in missing:
        with new_folder(root / model.model_id) as folder:
            for file in model.files:
                _download(
                    f"{address}/{model.model_id}/{file.name}",
                    folder / file.name,
                    file,
                    partial(progress, model.model_id),
                )
    states = {"present": "present", "missing": "fetched"}
    return tuple(
        Fetched(model.model_id, states[found[model.model_id]], str(root / model.model_id))
        for model in models
    )


def _state(folder: Path, model: ReleasedModel) -> str:
    """Return `missing`, `present` or `different`."""
    if not folder.exists():
        return "missing"
    for file in model.files:
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size:
            return "different"
        if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            return "different"
    return "present"


def _checked(url: str) -> str:
    """Return an address without its last slash; ConfigError unless it is http(s)."""
    if not url:
        raise ConfigError(
            "there is no address to fetch models from: set COVIDXR_MODELS_URL to the http(s) "
            "address of a folder that contains MODEL/FILE, such as a copy of the repository's "
            "weights/"
        )
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise ConfigError(f"COVIDXR_MODELS_URL must be an http or https address, got {url!r}")
    return url.rstrip("/")


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http(s) alone: no redirect can lead to a file or to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _download(
    url: str, path: Path, file: ReleasedFile, progress: Callable[[int], None] = lambda size: None
) -> None:
    """Download one file, no longer than it may be, and check its hash."""
    digest, size = hashlib.sha256(), 0
    try:
        response = _opener().open(urllib.request.Request(url), timeout=TIMEOUT)
        if response is None:
            raise ModelError(f"{url} leads to an address that is not http or https")
        with closing(response), path.open("wb") as out:
            while chunk := response.read(min(_CHUNK, file.size + 1 - size)):
                size += len(chunk)
                if size > file.size:
                    break
                digest.update(chunk)
                out.write(chunk)
                progress(len(chunk))
    except urllib.error.HTTPError as error:
        raise ModelError(f"{url} cannot be fetched: HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"{url} cannot be fetched: {reason}") from error
    if size != file.size:
        raise ModelError(
            f"{url} is not the released file: expected {file.size:,} bytes, got "
            f"{'more' if size > file.size else f'{size:,}'}; nothing was stored"
        )
    if digest.hexdigest() != file.sha256:
        raise ModelError(
            f"{url} is not the released file: its sha256 is {digest.hexdigest()[:12]}…, "
            f"expected {file.sha256[:12]}…; nothing was stored"
        )
