"""The usage log: one line of JSON per predicted image."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock

from covidxr.cards import ModelCard
from covidxr.config import cache_folder, logs_uses

_LOGGER = logging.getLogger(__name__)
_MAX_BYTES = 10_000_000
"""About 30,000 lines. A full file replaces `uses.1.jsonl`."""
_LOCK_SECONDS = 2.0


def log_file() -> Path:
    """Return the file of the log; older lines are in `uses.1.jsonl` in the same folder."""
    return cache_folder() / "log" / "uses.jsonl"


def log_use(
    card: ModelCard,
    input_sha256: str,
    status: Literal["answered", "refused", "unreadable"],
    predicted: str | None = None,
) -> None:
    """Append a line: time (UTC), input hash, model, weights hash, status and predicted class.

    It has no pixels, file names or header values. An error, such as a full disk, is a warning in
    the server's log only.

    Args:
        card: Of the model.
        input_sha256: Hash of the file; empty if it could not be read.
        status: Whether the image was analyzed, rejected or unreadable.
        predicted: Class, which is logged for analyzed images only.
    """
    if not logs_uses():
        return
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "input_sha256": input_sha256 or None,
        "model_id": card.model_id,
        "weights_sha256": card.weights_sha256,
        "verdict": status,
        "predicted": predicted if status == "answered" else None,
    }
    try:
        _append(log_file(), (json.dumps(entry) + "\n").encode())
    # Timeout of filelock is an OSError too.
    except OSError as error:
        _LOGGER.warning("cannot write the usage log: %s", error)


def _append(path: Path, line: bytes) -> None:
    """Append a line whole or not at all, one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
        if path.exists() and path.stat().st_size + len(line) > _MAX_BYTES:
            os.replace(path, path.with_name("uses.1.jsonl"))
        with open(
            path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600)
        ) as file:
            end = file.tell()
            if file.write(line) != len(line):
                file.truncate(end)
                raise OSError(f"no space left for {path}")
