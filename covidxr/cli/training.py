"""Commands that train: train, resume, recipes, reproduce."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from covidxr.cli.output import Data, Json, Protocol, Seed, Skip, make_table, percent, print_result
from covidxr.errors import ConfigError
from covidxr.models.store import new_model_folder
from covidxr.records import Augmentation, Recipe, SplitPlan

if TYPE_CHECKING:
    from covidxr.runs.journal import RunFolder


def _recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of the recipe and its augmentation (but `init`, which --init FILE decides)."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = inspect.get_annotations(Recipe, eval_str=True) | inspect.get_annotations(Augmentation, eval_str=True)
    own = [f for f in (*fields(Recipe), *fields(Augmentation)) if f.name not in ("name", "init", "augmentation")]
    added = []
    for field in own:
        hint = hints[field.name]
        kind = hint if hint in (int, float, bool) else str
        option = typer.Option(help="Recipe field; without it, the recipe's own value.", show_default=False)
        added.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])
        )
    command.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*kept, *added)} | {"return": None}
    return command


@_recipe_options
def train(
    recipe: Annotated[str, typer.Option(help="Name of a recipe; `covidxr recipes` lists them.")],
    data: Data = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run; without it runs/<recipe>-<time>.")] = None,
    model_id: Annotated[str | None, typer.Option(help="Name of the finished model; without it, the run folder's name.")] = None,
    init_file: Annotated[Path | None, typer.Option("--init", help="Safetensors file of ImageNet weights.")] = None,
    protocol: Protocol = "grouped",
    split_seed: Seed = 0,
    skip_unreadable: Skip = False,
    as_json: Json = False,
    **changes: object,
) -> None:
    """Train a model, judge it on test and store it. Under torchrun the same command trains on many processes.

    Example: covidxr train --data COVID-19_Radiography_Dataset --recipe poster-cnn --epochs 3
    """
    from covidxr import workflows
    from covidxr.models.recipes import recipe as named
    from covidxr.runs.journal import RunConfig

    given = {k: v for k, v in changes.items() if v is not None} | ({"init": "imagenet"} if init_file else {})
    chosen = named(recipe).override(**given)
    if run_dir is None and "RANK" in os.environ:
        raise ConfigError("under torchrun --run-dir must name the run's folder, the same for every process")
    folder = run_dir or Path("runs") / f"{recipe}-{datetime.now():%Y%m%d-%H%M%S}"
    new_model_folder(workflows.weights_folder(), model_id or folder.name)
    plan = SplitPlan(protocol, split_seed)  # type: ignore[arg-type]
    source = (data or workflows.default_dataset()).expanduser().resolve()
    config = RunConfig(chosen, plan, str(source), str(init_file.resolve()) if init_file else None, skip_unreadable)
    _finish(workflows.train(config, folder), model_id, as_json)


def resume(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")],
    model_id: Annotated[str | None, typer.Option(help="Name of the finished model; without it, the run folder's name.")] = None,
    as_json: Json = False,
) -> None:
    """Go on with an interrupted run after its last finished epoch.

    Example: covidxr resume runs/poster-cnn-20261122-191048
    """
    from covidxr import workflows

    new_model_folder(workflows.weights_folder(), model_id or run_dir.name)
    _finish(workflows.resume(run_dir), model_id, as_json)


def _finish(run: RunFolder, model_id: str | None, as_json: bool) -> None:
    from covidxr import workflows

    if not workflows.is_main_process():
        return
    skipped: list[list[str]] = next((event["skipped"] for event in reversed(run.events()) if event["event"] == "dataset"), [])
    result: dict[str, Any] = {"run": str(run.path), "status": run.status(), "skipped": skipped}
    if result["status"] == "finished":
        card = workflows.store_run(run.path, model_id or run.path.name)
        result |= {
            "model_id": card.model_id,
            "best_epoch": card.best_epoch,
            "metrics": {k: asdict(i) for k, i in card.metrics.items()},
        }

    def show(console: Console) -> None:
        console.print(f"run {result['run']}: {result['status']}", markup=False)
        for file, reason in skipped:
            console.print(f"skipped {file}: {reason}", markup=False)
        if "metrics" in result:
            accuracy, macro_f1 = (percent(result["metrics"][key]) for key in ("accuracy", "macro_f1"))
            console.print(f"model {result['model_id']}: accuracy on test {accuracy}, macro-F1 {macro_f1}", markup=False)

    print_result(result, as_json, show)


def recipes(as_json: Json = False) -> None:
    """List the recipes.

    Example: covidxr recipes
    """
    from covidxr.models.recipes import RECIPES

    rows = [
        [r.name, r.architecture, r.init, str(r.image_size), str(r.epochs), f"{r.optimizer} {r.learning_rate:g}"]
        for r in RECIPES.values()
    ]
    columns = ["recipe", "architecture", "initial weights", "pixels", "epochs", "optimizer"]
    print_result(
        {"recipes": [asdict(r) for r in RECIPES.values()]}, as_json, lambda c: c.print(make_table("Recipes", columns, rows))
    )


def reproduce(
    data: Data = None,
    run_dir: Annotated[Path, typer.Option(help="Folder for the runs and models; run again with the same folder to go on.")] = Path(
        "runs/reproduce"
    ),
    init_file: Annotated[Path | None, typer.Option("--init", help="Safetensors file of ImageNet weights.")] = None,
    protocol: Protocol = "grouped",
    epochs: Annotated[int | None, typer.Option(help="Epochs of every recipe; without it, each recipe's own.")] = None,
    as_json: Json = False,
) -> None:
    """Train the study's four models anew and print the study's figures beside ours.

    Example: covidxr reproduce --data COVID-19_Radiography_Dataset
    """
    from covidxr import workflows

    plan = SplitPlan(protocol)  # type: ignore[arg-type]
    result = workflows.reproduce(data or workflows.default_dataset(), run_dir, plan, init_file, epochs)

    def show(console: Console) -> None:
        rows = [
            [
                row["recipe"],
                f"{row['study_accuracy']:.1%}",
                percent(row["accuracy"]),
                percent(row["macro_f1"]),
                str(row["best_epoch"]),
            ]
            for row in result["models"]
        ]
        columns = ["recipe", "study", "ours (95 % interval)", "macro-F1", "best epoch"]
        console.print(make_table(f"Accuracy on test: the study, and {result['data']}", columns, rows))
        counts = ", ".join(f"{name} {n:,}" for name, n in result["class_counts"].items())
        console.print(
            f"Ours: {result['protocol']} split, seed {result['seed']}, n = {result['n']:,} test images; dataset: {counts}."
        )
        console.print("The study: 21,165 images, stratified split, 3,175 test images; no intervals published.")

    print_result(result, as_json, show)
