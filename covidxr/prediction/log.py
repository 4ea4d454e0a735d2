"""A line for each picture that a model was asked about: when, which file by its hash, which model, and what became of it."""

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
_MOST_BYTES = 10_000_000
"""About 30,000 lines; then the file becomes the older one, and the older one of before is gone."""
_PATIENCE = 2.0
"""Seconds to wait while others write."""


def log_file() -> Path:
    """Return where the lines are written: `uses.jsonl` in the cache folder, the older ones in `uses.1.jsonl` beside it."""
    return cache_folder() / "log" / "uses.jsonl"


def log_use(
    card: ModelCard,
    input_sha256: str,
    verdict: Literal["answered", "refused", "unreadable"],
    predicted: str | None = None,
) -> None:
    """Add a line of JSON: time (UTC), input_sha256, model_id, weights_sha256, verdict and, for an answer, predicted.

    No pixels, no name of a file, nothing of a header. Processes that write at once take turns, so that no line is torn.
    What keeps it from being written (a full disk, a folder that is read-only) is a warning in the server's log and nothing more.
    """
    if not logs_uses():
        return
    said = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "input_sha256": input_sha256 or None,
        "model_id": card.model_id,
        "weights_sha256": card.weights_sha256,
        "verdict": verdict,
        "predicted": predicted if verdict == "answered" else None,
    }
    try:
        _append(log_file(), (json.dumps(said) + "\n").encode())
    except OSError as error:  # among them filelock's Timeout
        _LOGGER.warning("the log of uses cannot be written: %s", error)


def _append(place: Path, line: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock", timeout=_PATIENCE):
        if place.exists() and place.stat().st_size + len(line) > _MOST_BYTES:
            os.replace(place, place.with_name("uses.1.jsonl"))
        with open(
            place, "ab", buffering=0, opener=lambda path, flags: os.open(path, flags, 0o600)
        ) as file:
            end = file.tell()
            if file.write(line) != len(line):  # the disk is full
                file.truncate(end)
                raise OSError(f"no space left for {place}")
