from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from covidxr.runs.queue import turn

REPOSITORY = Path(__file__).resolve().parents[2]
# The alarm ends a process that would wait for ever, and with it the test that reads its output.
CHILD = """
import signal, sys, time
from pathlib import Path
from covidxr.runs.queue import turn

signal.alarm(60)
folder, name, book = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])

def note(word):
    with book.open("a") as file:
        file.write(f"{word} {name}\\n")

with turn(folder, name, lambda behind: print("behind", behind, flush=True) if behind else None):
    note("in")
    print("in", flush=True)
    sys.stdin.readline()
    time.sleep(0.1)
    note("out")
"""


class Child:
    """A process that waits for its turn, and keeps it until it is let go."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def waiting_in(folder: Path, *names: str) -> Iterator[list[Child]]:
    """Processes that come one after another, each when the one before has its place."""
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
    return sorted(path.name for path in folder.iterdir() if path.name != "gate")


def test_first_come_is_first_served_and_nobody_else_meanwhile(tmp_path: Path) -> None:
    with waiting_in(tmp_path, "zoe", "mia", "ada") as children:
        assert len(list((tmp_path / "queue").glob("*.ticket"))) == 3
        for child in reversed(children):  # whoever is told last to leave still leaves in turn
            child.let_go()
        assert [child.process.wait(30) for child in children] == [0, 0, 0]
        assert [child.says() for child in children] == ["", "in", "in"]
    expected = [f"{word} {name}" for name in ("zoe", "mia", "ada") for word in ("in", "out")]
    assert (tmp_path / "book").read_text().splitlines() == expected
    assert files(tmp_path / "queue") == []


def test_the_tickets_of_killed_processes_are_thrown_away(tmp_path: Path) -> None:
    with waiting_in(tmp_path, "holder", "waiter", "last") as (holder, waiter, last):
        waiter.kill()
        holder.kill()
        assert len(list((tmp_path / "queue").glob("*.ticket"))) == 3
        assert last.says() == "in"
        last.let_go()
        assert last.process.wait(30) == 0
    assert (tmp_path / "book").read_text().splitlines() == ["in holder", "in last", "out last"]
    assert files(tmp_path / "queue") == []


def test_who_waits_is_told_once_for_whom_and_raising_gives_up_the_place(tmp_path: Path) -> None:
    told: list[str] = []

    def waiting(behind: str) -> None:
        told.append(behind)
        if len(told) == 3:
            raise KeyboardInterrupt

    with turn(tmp_path, "first", pytest.fail):
        before = files(tmp_path)
        with pytest.raises(KeyboardInterrupt), turn(tmp_path, "second", waiting):
            pytest.fail("it was not its turn")
        assert files(tmp_path) == before
        assert len(before) == 2
    assert told == ["first", "", ""]
    with turn(tmp_path, "third", pytest.fail):  # nobody is before it any more
        pass
    assert files(tmp_path) == []


def test_an_error_in_the_block_ends_the_turn_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), turn(tmp_path, "first", pytest.fail):
        raise ValueError("broken")
    assert files(tmp_path) == []


def test_queues_of_different_folders_do_not_wait_for_one_another(tmp_path: Path) -> None:
    with (
        turn(tmp_path / "one", "first", pytest.fail),
        turn(tmp_path / "other", "second", pytest.fail),
    ):
        assert len(files(tmp_path / "one")) == len(files(tmp_path / "other")) == 2
