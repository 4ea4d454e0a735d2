"""The command line: `covidxr COMMAND`, or `python -m covidxr COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from covidxr import __version__
from covidxr.cli import (
    datasets,
    explain,
    imports,
    lungs,
    models,
    predict,
    report,
    serve,
    training,
)
from covidxr.cli.output import fail
from covidxr.errors import CovidxrError
from covidxr.records import RESEARCH_ONLY

app = typer.Typer(
    help=f"Train, compare, explain and apply chest X-ray classifiers. {RESEARCH_ONLY}",
    add_completion=False,
    no_args_is_help=True,
    # A bug keeps its plain traceback.
    pretty_exceptions_enable=False,
)
dataset_app = typer.Typer(help="Summarize, audit, split and import datasets.", no_args_is_help=True)
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
    models.models,
    models.evaluate,
    models.compare,
    predict.predict,
    explain.explain,
    explain.explain_audit,
    report.report,
    models.audit,
    lungs.train_lungs,
    serve.app,
)
for command in _DATASET_COMMANDS:
    dataset_app.command()(command)
# `import` is a keyword: the function cannot have the name of the command.
dataset_app.command("import")(imports.import_)
dataset_app.command()(imports.fetch)
for command in _COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line.

    The exit code is 0; 2 after an error that the user can correct, which is printed as a
    sentence; or 1 after a bug, with a traceback.
    """
    as_json = "--json" in sys.argv
    try:
        # With --json errors of usage are raised, so that they are printed as JSON here.
        app(standalone_mode=not as_json)
    except CovidxrError as error:
        fail(str(error), as_json)
    except typer.TyperException as error:
        fail(error.format_message(), as_json)


def _show_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass
