"""Commands that train: train, resume, store, runs, recipes, reproduce."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from covidxr.cli.output import (
    Data,
    Json,
    Protocol,
    Seed,
    Skip,
    interval,
    make_table,
    print_lines,
    print_result,
)
from covidxr.errors import ConfigError
from covidxr.formatting import NO_VALUE, count, percent
from covidxr.models.store import new_model_folder
from covidxr.records import Augmentation, Recipe, SplitFractions, SplitPlan, display_name

if TYPE_CHECKING:
    from covidxr.runs.estimate import Estimate
    from covidxr.runs.journal import RunFolder

Store = Annotated[
    bool,
    typer.Option(
        "--store/--no-store",
        help="Evaluate the finished run on the test set and publish it as a model.",
    ),
]
AtOnce = Annotated[
    bool,
    typer.Option("--at-once", help="Run concurrently with other runs on this device: no queue."),
]


def _recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of the recipe and its augmentation, except for `init`.

    The option --init of the command also takes a file.
    """
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = {
        name: hint if hint in (int, float, bool) else str
        for record in (Recipe, Augmentation)
        for name, hint in inspect.get_annotations(record, eval_str=True).items()
    }
    added = []
    for field in (*fields(Recipe), *fields(Augmentation)):
        if field.name in ("name", "init", "augmentation"):
            continue
        option = typer.Option(
            help=field.metadata["help"], show_default=False, rich_help_panel="Recipe fields"
        )
        hint, keyword = hints[field.name], inspect.Parameter.KEYWORD_ONLY
        added.append(
            inspect.Parameter(
                field.name, keyword, default=None, annotation=Annotated[hint | None, option]
            )
        )
    command.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*kept, *added)} | {"return": None}
    return command


@_recipe_options
def train(
    recipe: Annotated[str, typer.Option(help="Name of the recipe; see `covidxr recipes`.")],
    data: Data = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder of the run. Default: runs/<recipe>-<time>.")
    ] = None,
    model_id: Annotated[
        str | None,
        typer.Option(help="ID of the published model. Default: the name of the run's folder."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Initial weights: random, imagenet, or a safetensors file of ImageNet weights."
        ),
    ] = None,
    protocol: Protocol = "grouped",
    split_seed: Seed = 0,
    fractions: Annotated[
        str, typer.Option(help="Fractions of training, validation and test images.")
    ] = "0.7/0.15/0.15",
    exclude: Annotated[
        Path | None, typer.Option(help="CSV file (`file,reason`) of images to exclude.")
    ] = None,
    skip_unreadable: Skip = False,
    make_model: Store = True,
    at_once: AtOnce = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Only estimate the time and disk space; do not train."),
    ] = False,
    as_json: Json = False,
    **changes: object,
) -> None:
    """Train a model, evaluate it on the test set and publish it.

    Under torchrun the same command trains on several processes.

    Example: covidxr train --data COVID-19_Radiography_Dataset --recipe poster-cnn --epochs 3
    """
    from covidxr.config import runs_folder, weights_folder
    from covidxr.datasets.exclusions import read_exclusions
    from covidxr.datasets.opening import find_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.models.recipes import recipe as named
    from covidxr.runs.estimate import estimate as estimate_
    from covidxr.runs.journal import RunConfig
    from covidxr.runs.launcher import new_run
    from covidxr.runs.train import train as train_

    given = {k: v for k, v in changes.items() if v is not None}
    init_file = None if init in (None, "random", "imagenet") else Path(str(init)).resolve()
    if init is not None:
        given["init"] = "random" if init == "random" else "imagenet"
    chosen = named(recipe).override(**given)
    if init_file and not init_file.is_file():
        raise ConfigError(
            f"--init must be random, imagenet or a safetensors file, got {init_file}, "
            "which does not exist"
        )
    if run_dir is None and "RANK" in os.environ:
        raise ConfigError(
            "--run-dir is required under torchrun, with the same folder for every process"
        )
    folder = run_dir or new_run(runs_folder(), recipe).path
    source = find_dataset(data or default_dataset()).resolve()
    plan = SplitPlan(protocol, split_seed, _read_fractions(fractions))  # type: ignore[arg-type]
    excluded = read_exclusions(exclude) if exclude else ()
    config = RunConfig(
        chosen, plan, str(source), str(init_file) if init_file else None, skip_unreadable, excluded
    )
    if estimate:
        _print_estimate(estimate_(config, folder), as_json)
        return
    if make_model:
        new_model_folder(weights_folder(), model_id or folder.name)
    _finish(train_(config, folder, at_once), model_id, make_model, as_json)


def resume(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")],
    model_id: Annotated[
        str | None,
        typer.Option(help="ID of the published model. Default: the name of the run's folder."),
    ] = None,
    make_model: Store = True,
    at_once: AtOnce = False,
    as_json: Json = False,
) -> None:
    """Continue an interrupted run after its last completed epoch.

    Example: covidxr resume runs/poster-cnn-20261122-191048
    """
    from covidxr.config import weights_folder
    from covidxr.runs.train import resume as resume_

    if make_model:
        new_model_folder(weights_folder(), model_id or run_dir.name)
    _finish(resume_(run_dir, at_once), model_id, make_model, as_json)


def _read_fractions(text: str) -> SplitFractions:
    try:
        train, val, test = (float(part) for part in text.split("/"))
    except ValueError:
        raise ConfigError(
            f"--fractions must be three fractions such as 0.7/0.15/0.15, got {text!r}"
        ) from None
    return SplitFractions(train, val, test)


def _print_estimate(estimate: Estimate, as_json: bool) -> None:
    from covidxr.formatting import data_size, duration

    result = {**asdict(estimate), "seconds": estimate.seconds, "fits": estimate.fits}
    epoch = duration(estimate.seconds_an_epoch)
    time = f"about {duration(estimate.seconds)}: {estimate.epochs} epochs at {epoch}"
    if estimate.decode_seconds:
        time += f", and {duration(estimate.decode_seconds)} to prepare the images (first use only)"
    disk = [
        f"disk space for {what}: {data_size(size)}, {data_size(free)} free"
        for what, size, free in (
            ("the run", estimate.run_bytes, estimate.free_bytes),
            ("prepared images", estimate.cache_bytes, estimate.cache_free_bytes),
        )
    ]
    print_result(result, as_json, lambda console: print_lines(console, time, *disk))


def _finish(run: RunFolder, model_id: str | None, make_model: bool, as_json: bool) -> None:
    from covidxr.runs.train import is_main_process

    if not is_main_process():
        return
    skipped: list[list[str]] = next(
        (event["skipped"] for event in reversed(run.events()) if event["event"] == "dataset"), []
    )
    result: dict[str, Any] = {"run": str(run.path), "status": run.status(), "skipped": skipped}
    if result["status"] == "finished" and make_model:
        result |= _publish(run.path, model_id)

    def show(console: Console) -> None:
        print_lines(console, f"run {result['run']}: {result['status']}")
        print_lines(console, *(f"skipped {file}: {reason}" for file, reason in skipped))
        if "metrics" in result:
            print_lines(console, _model_line(result))

    print_result(result, as_json, show)


def _publish(run_dir: Path, model_id: str | None) -> dict[str, Any]:
    from covidxr.runs.publish import publish

    card = publish(run_dir, model_id or run_dir.name)
    metrics = {k: asdict(i) for k, i in card.metrics.items()}
    return {"model_id": card.model_id, "best_epoch": card.best_epoch, "metrics": metrics}


def _model_line(result: dict[str, Any]) -> str:
    accuracy, macro_f1 = (
        percent(interval(result["metrics"][metric])) for metric in ("accuracy", "macro_f1")
    )
    return f"model {result['model_id']}: test accuracy {accuracy}, macro-F1 {macro_f1}"


def store(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")],
    model_id: Annotated[
        str | None, typer.Option(help="ID of the model. Default: the name of the run's folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish the best epoch of a run as a model.

    It is evaluated once on the test set; weights, model card and predictions are stored.

    Example: covidxr store runs/poster-cnn-20261122-191048 --model-id my-cnn
    """
    result = _publish(run_dir, model_id)
    print_result(result, as_json, lambda console: print_lines(console, _model_line(result)))


def runs(
    run_dir: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs. Default: all in runs/.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for the learning curves as TensorBoard event files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List runs with their status, and export their learning curves to TensorBoard.

    Example: covidxr runs --tensorboard events
    """
    from covidxr.config import runs_folder
    from covidxr.runs import launcher, snapshot
    from covidxr.runs.export import export_tensorboard
    from covidxr.runs.journal import RunFolder

    folders = (
        [RunFolder(path) for path in run_dir] if run_dir else launcher.list_runs(runs_folder())
    )
    for folder in folders if run_dir else ():
        folder.config()
    written = export_tensorboard(folders, tensorboard) if tensorboard else {}
    taken = [snapshot.take(folder) for folder in folders]
    result = {
        "runs": [
            {
                "run": str(run.path),
                "name": run.name,
                "status": run.status,
                "reason": run.reason,
                "epochs": len(run.epochs),
                "best_epoch": run.best.epoch if run.best else None,
                "best_macro_f1": run.best.val_macro_f1 if run.best else None,
                "model_id": run.model_id,
            }
            for run in taken
        ]
    }

    def show(console: Console) -> None:
        rows = [
            [
                run.name,
                f"{run.status}: {run.reason}" if run.reason else run.status,
                str(len(run.epochs)),
                f"{run.best.val_macro_f1:.1%}, epoch {run.best.epoch}" if run.best else NO_VALUE,
                run.model_id or NO_VALUE,
            ]
            for run in taken
        ]
        columns = ["run", "status", "epochs", "best val. macro-F1", "model"]
        console.print(make_table("Runs, newest first", columns, rows))
        lines = (f"{name}: {count(n, 'epoch')} to {tensorboard}" for name, n in written.items())
        print_lines(console, *lines)

    print_result(result, as_json, show)


def recipes(as_json: Json = False) -> None:
    """List the recipes: architecture and training settings by name.

    Example: covidxr recipes
    """
    from covidxr.models.recipes import RECIPES

    rows = [
        [
            r.name,
            r.architecture,
            r.init,
            str(r.image_size),
            str(r.epochs),
            f"{r.optimizer} {r.learning_rate:g}",
        ]
        for r in RECIPES.values()
    ]
    columns = ["recipe", "architecture", "initial weights", "pixels", "epochs", "optimizer"]
    result = {"recipes": [asdict(recipe) for recipe in RECIPES.values()]}
    table = make_table("Recipes", columns, rows)
    print_result(result, as_json, lambda console: console.print(table))


def reproduce(
    data: Data = None,
    run_dir: Annotated[
        Path,
        typer.Option(
            help="Folder for the runs and models. Repeat with the same folder to continue."
        ),
    ] = Path("runs/reproduce"),
    init_file: Annotated[
        Path | None, typer.Option("--init", help="Safetensors file of ImageNet weights.")
    ] = None,
    protocol: Protocol = "grouped",
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of every recipe. Default: each recipe's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the four models of the baseline study and compare them with its published accuracy.

    Example: covidxr reproduce --data COVID-19_Radiography_Dataset
    """
    from covidxr.datasets.opening import find_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.runs.reproduce import reproduce as reproduce_

    plan = SplitPlan(protocol)  # type: ignore[arg-type]
    result = reproduce_(
        find_dataset(data or default_dataset()).resolve(), run_dir, plan, init_file, epochs
    )

    def show(console: Console) -> None:
        rows = [
            [
                row["recipe"],
                f"{row['study_accuracy']:.1%}",
                percent(interval(row["accuracy"]), brief=True),
                percent(interval(row["macro_f1"]), brief=True),
                str(row["best_epoch"]),
            ]
            for row in result["models"]
        ]
        title = f"Test accuracy: baseline study, and here on {result['data']}, with 95% CI"
        columns = ["recipe", "baseline study", "here", "macro-F1", "best epoch"]
        console.print(make_table(title, columns, rows))
        counts = ", ".join(
            f"{display_name(name)} {n:,}" for name, n in result["class_counts"].items()
        )
        print_lines(
            console,
            f"Here: {result['protocol']} split, seed {result['seed']}, "
            f"n = {result['n']:,} test images; dataset: {counts}.",
            "Baseline study: stratified split, n = 3,175 test images; dataset: 21,165 images; "
            "no CI published.",
        )

    print_result(result, as_json, show)
