"""Options that the commands share, and the output of their results as JSON or as tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from covidxr.records import Interval

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Dataset: folder, zip or name of an import. Default: synthetic phantoms."),
]
Skip = Annotated[
    bool,
    typer.Option("--skip-unreadable", help="Skip and list unreadable images instead of failing."),
]
Protocol = Annotated[
    str,
    typer.Option(
        help="Split protocol: grouped (patients and near-duplicates stay together), stratified "
        "(random, as in the baseline study) or given (predefined in the dataset)."
    ),
]
Seed = Annotated[int, typer.Option(help="Random seed of the split.")]


def print_result(result: Any, as_json: bool, show: Callable[[Console], None]) -> None:
    """Print a result as one JSON object, or let `show` print it as text."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
    else:
        show(Console())


def print_lines(console: Console, *lines: str) -> None:
    """Print each line as it is, without markup or highlighting."""
    for line in lines:
        console.print(line, markup=False, highlight=False)


def fail(sentence: str, as_json: bool) -> NoReturn:
    """Exit with 2 after printing an error: as JSON on stdout, or as text on stderr."""
    if as_json:
        print(json.dumps({"error": sentence}, ensure_ascii=False))
    else:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def make_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """Return a table of plain text: brackets are no markup, and long cells wrap."""
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def interval(found: dict[str, float] | None) -> Interval | None:
    """Convert an interval of a JSON result back to its record."""
    return None if found is None else Interval(**found)
