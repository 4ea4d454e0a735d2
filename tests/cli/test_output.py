"""Tables of the command line."""

from __future__ import annotations

from rich.console import Console

from covidxr.cli.output import make_table


def test_brackets_in_tables_are_text() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(make_table("[a]", ["file"], [["[bold]Anna[/] [b].png"]]))
    assert "[a]" in capture.get()
    assert "[bold]Anna[/] [b].png" in capture.get()
