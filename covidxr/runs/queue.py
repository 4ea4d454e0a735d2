"""Whose turn it is: runs of one device train one after another, first come, first served, whoever started them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_LOOK_SECONDS = 0.5


@contextmanager
def turn(folder: Path, name: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Wait until no earlier run holds a ticket in `folder`, and hold one for as long as the block lasts.

    waiting: told the name of the run that is first, once; then with an empty string twice a second. What it raises gives the
    place up. A ticket is a held lock: that of a killed run is free, and is thrown away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gate = FileLock(folder / "gate")  # nobody judges a ticket between its making and its locking
    with ExitStack() as held:
        with gate:
            ticket = folder / f"{time.time_ns():020d}-{os.getpid()}.ticket"
            held.enter_context(FileLock(ticket))
            # The name stands beside the ticket: filelock truncates the file that it locks.
            _name_of(ticket).write_text(name, "utf-8")
            held.callback(_name_of(ticket).unlink, missing_ok=True)
            held.callback(ticket.unlink, missing_ok=True)
        told = False
        while first := _first_before(ticket, gate):
            waiting("" if told else _read_name(first) or "another run")
            told = True
            time.sleep(_LOOK_SECONDS)
        yield


def _first_before(ticket: Path, gate: FileLock) -> Path | None:
    """Return the first living ticket before ours, or None when it is our turn."""
    with gate:
        for other in sorted(ticket.parent.glob("*.ticket")):
            if other >= ticket:
                return None
            try:
                with FileLock(other, timeout=0):
                    other.unlink(missing_ok=True)
                    _name_of(other).unlink(missing_ok=True)
            except Timeout:
                return other
    return None


def _name_of(ticket: Path) -> Path:
    return ticket.with_suffix(".name")


def _read_name(ticket: Path) -> str:
    try:
        return _name_of(ticket).read_text("utf-8")
    except OSError:
        return ""
