"""What the commands share: their common options, and results as one JSON object or as tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from covidxr.records import Interval

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Data = Annotated[
    Path | None, typer.Option(help="Folder or zip of the database; without it, synthetic phantoms.")
]
Skip = Annotated[
    bool,
    typer.Option("--skip-unreadable", help="Leave out images that cannot be read, and list them."),
]
Protocol = Annotated[
    str,
    typer.Option(
        help="grouped (patients and near-duplicates stay together), stratified (the study's) or given (the dataset's own)."
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the split.")]


def print_result(result: Any, as_json: bool, show: Callable[[Console], None]) -> None:
    """Print a result as one JSON object, or let `show` print it for people."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
    else:
        show(Console())


def fail(sentence: str, as_json: bool) -> NoReturn:
    """Print what the user can mend, on stdout as JSON or on stderr as a sentence, and exit with 2."""
    if as_json:
        print(json.dumps({"error": sentence}, ensure_ascii=False))
    else:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def make_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """Return a table of text."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def interval(found: dict[str, float] | None) -> Interval | None:
    """Read an interval of a command's result."""
    return None if found is None else Interval(**found)
