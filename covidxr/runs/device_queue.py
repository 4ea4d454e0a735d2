"""The queue of a device: its runs train one after another, across processes, first come first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 0.5


@contextmanager
def take_turn(folder: Path, name: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Wait until all earlier runs have left a queue, and hold the place for the block.

    A place is a ticket file with a held lock. The lock of a killed run is free, and its ticket is
    removed by the others.

    Args:
        folder: Of the queue.
        name: Of the run.
        waiting: Receives the name of the first run once, then an empty string twice a second. What
            it raises gives up the place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Held while a ticket is created or checked, so that none is seen before it is locked.
    lock = FileLock(folder / "lock")
    with ExitStack() as held:
        with lock:
            ticket = folder / f"{time.time_ns():020d}-{os.getpid()}.ticket"
            held.enter_context(FileLock(ticket))
            # In a file of its own: filelock truncates the file that it locks.
            _name_file(ticket).write_text(name, "utf-8")
            held.callback(_name_file(ticket).unlink, missing_ok=True)
            held.callback(ticket.unlink, missing_ok=True)
        reported = False
        while first := _first_before(ticket, lock):
            waiting("" if reported else _read_name(first) or "another run")
            reported = True
            time.sleep(_POLL_SECONDS)
        yield


def _first_before(ticket: Path, lock: FileLock) -> Path | None:
    """Return the first live ticket before ours, or None if it is our turn."""
    with lock:
        for other in sorted(ticket.parent.glob("*.ticket")):
            if other >= ticket:
                return None
            try:
                with FileLock(other, timeout=0):
                    other.unlink(missing_ok=True)
                    _name_file(other).unlink(missing_ok=True)
            except Timeout:
                return other
    return None


def _name_file(ticket: Path) -> Path:
    return ticket.with_suffix(".name")


def _read_name(ticket: Path) -> str:
    try:
        return _name_file(ticket).read_text("utf-8")
    except OSError:
        return ""
