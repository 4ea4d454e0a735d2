"""Queues of devices."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from covidxr.runs.device_queue import take_turn

REPOSITORY = Path(__file__).resolve().parents[2]
# The alarm ends a process that would wait forever, and so the test that reads from it.
CHILD = """
import signal, sys, time
from pathlib import Path
from covidxr.runs.device_queue import take_turn

signal.alarm(60)
folder, name, book = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])

def note(word):
    with book.open("a") as file:
        file.write(f"{word} {name}\\n")

def waiting(behind):
    if behind:
        print("behind", behind, flush=True)

with take_turn(folder, name, waiting):
    note("in")
    print("in", flush=True)
    sys.stdin.readline()
    time.sleep(0.1)
    note("out")
"""


class Child:
    """A process that waits for its turn and keeps it until it is released."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def waiting_in(folder: Path, *names: str) -> Iterator[list[Child]]:
    """Start processes one after another, each when the previous one is in the queue."""
    children = []
    with ExitStack() as ends:
        for name in names:
            command = [
                sys.executable,
                "-c",
                CHILD,
                str(folder / "queue"),
                name,
                str(folder / "book"),
            ]
            pipe = subprocess.PIPE
            process = ends.enter_context(
                subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY)
            )
            ends.callback(process.kill)
            children.append(Child(process))
            assert children[-1].says() == (f"behind {names[0]}" if children[1:] else "in")
        yield children


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "lock")


def test_turns_are_taken_one_at_a_time_in_order_of_arrival(tmp_path: Path) -> None:
    with waiting_in(tmp_path, "zoe", "mia", "ada") as children:
        assert len(list((tmp_path / "queue").glob("*.ticket"))) == 3
        # They leave in turn, in whichever order they are released.
        for child in reversed(children):
            child.release()
        assert [child.process.wait(30) for child in children] == [0, 0, 0]
        assert [child.says() for child in children] == ["", "in", "in"]
    expected = [f"{word} {name}" for name in ("zoe", "mia", "ada") for word in ("in", "out")]
    assert (tmp_path / "book").read_text().splitlines() == expected
    assert files(tmp_path / "queue") == []


def test_tickets_of_killed_processes_are_removed(tmp_path: Path) -> None:
    with waiting_in(tmp_path, "holder", "waiter", "last") as (holder, waiter, last):
        waiter.kill()
        holder.kill()
        assert len(list((tmp_path / "queue").glob("*.ticket"))) == 3
        assert last.says() == "in"
        last.release()
        assert last.process.wait(30) == 0
    assert (tmp_path / "book").read_text().splitlines() == ["in holder", "in last", "out last"]
    assert files(tmp_path / "queue") == []


def test_the_first_run_is_named_once_and_raising_gives_up_the_place(tmp_path: Path) -> None:
    received: list[str] = []

    def waiting(behind: str) -> None:
        received.append(behind)
        if len(received) == 3:
            raise KeyboardInterrupt

    with take_turn(tmp_path, "first", pytest.fail):
        before = files(tmp_path)
        with pytest.raises(KeyboardInterrupt), take_turn(tmp_path, "second", waiting):
            pytest.fail("it was not its turn")
        assert files(tmp_path) == before
        assert len(before) == 2
    assert received == ["first", "", ""]
    with take_turn(tmp_path, "third", pytest.fail):
        pass
    assert files(tmp_path) == []


def test_an_error_in_the_block_ends_the_turn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), take_turn(tmp_path, "first", pytest.fail):
        raise ValueError("broken")
    assert files(tmp_path) == []


def test_queues_in_different_folders_are_independent(tmp_path: Path) -> None:
    with (
        take_turn(tmp_path / "one", "first", pytest.fail),
        take_turn(tmp_path / "other", "second", pytest.fail),
    ):
        assert len(files(tmp_path / "one")) == len(files(tmp_path / "other")) == 2
