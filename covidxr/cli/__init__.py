"""The command line: `covidxr COMMAND`, or `python -m covidxr COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from covidxr import __version__
from covidxr.cli import datasets, explain, imports, lungs, report, serve, training, use
from covidxr.cli.output import fail
from covidxr.errors import CovidxrError
from covidxr.records import RESEARCH_ONLY

app = typer.Typer(
    help=f"Train, compare, explain and use chest-X-ray classifiers. {RESEARCH_ONLY}",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug keeps its plain traceback
)
dataset_app = typer.Typer(help="Summary at a dataset and divide it.", no_args_is_help=True)
app.add_typer(dataset_app, name="dataset")
_DATASET_COMMANDS: tuple[Callable[..., None], ...] = (
    datasets.summary,
    datasets.audit,
    datasets.split,
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    datasets.phantom,
    training.train,
    training.resume,
    training.store,
    training.runs,
    training.recipes,
    training.reproduce,
    use.models,
    use.evaluate,
    use.compare,
    use.predict,
    explain.explain,
    explain.explain_audit,
    report.report,
    lungs.audit,
    lungs.train_lungs,
    serve.app,
)
for command in _DATASET_COMMANDS:
    dataset_app.command()(command)
dataset_app.command("import")(
    imports.import_
)  # a keyword, so the function cannot have the command's name
dataset_app.command()(imports.fetch)
for command in _COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line: exit 0, or 2 for a mistake of the user, whose sentence is printed, or 1 for a bug."""
    as_json = "--json" in sys.argv
    try:
        app(standalone_mode=not as_json)
    except CovidxrError as error:
        fail(str(error), as_json)
    except typer.TyperException as error:  # left to us only with --json
        fail(error.format_message(), as_json)


def _show_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass
