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

from covidxr.cli.output import Data, Json, Protocol, Seed, Skip, interval, make_table, print_result
from covidxr.errors import ConfigError
from covidxr.formatting import percent
from covidxr.models.store import new_model_folder
from covidxr.records import Augmentation, Recipe, SplitFractions, SplitPlan

if TYPE_CHECKING:
    from covidxr.runs.estimate import Estimate
    from covidxr.runs.journal import RunFolder

Store = Annotated[
    bool,
    typer.Option(
        "--store/--no-store", help="Judge the finished run on test and store it as a model."
    ),
]
AtOnce = Annotated[
    bool,
    typer.Option(
        "--at-once", help="Do not wait until the runs before it on this device have ended."
    ),
]


def _recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of the recipe and its augmentation (but `init`, which --init FILE decides)."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = inspect.get_annotations(Recipe, eval_str=True) | inspect.get_annotations(
        Augmentation, eval_str=True
    )
    own = [
        f
        for f in (*fields(Recipe), *fields(Augmentation))
        if f.name not in ("name", "init", "augmentation")
    ]
    added = []
    for field in own:
        hint = hints[field.name]
        kind = hint if hint in (int, float, bool) else str
        option = typer.Option(
            help=field.metadata["help"], show_default=False, rich_help_panel="Fields of the recipe"
        )
        added.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    command.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*kept, *added)} | {"return": None}
    return command


@_recipe_options
def train(
    recipe: Annotated[str, typer.Option(help="Name of a recipe; `covidxr recipes` lists them.")],
    data: Data = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder of the run; without it runs/<recipe>-<time>.")
    ] = None,
    model_id: Annotated[
        str | None,
        typer.Option(help="Name of the finished model; without it, the run folder's name."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="random, imagenet, or a safetensors file of ImageNet weights."),
    ] = None,
    protocol: Protocol = "grouped",
    split_seed: Seed = 0,
    fractions: Annotated[
        str, typer.Option(help="Shares of training, validation and test.")
    ] = "0.7/0.15/0.15",
    exclude: Annotated[
        Path | None, typer.Option(help="CSV `file,reason` of images to leave out.")
    ] = None,
    skip_unreadable: Skip = False,
    make_model: Store = True,
    at_once: AtOnce = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Say what time and disk it would take, and do no more."),
    ] = False,
    as_json: Json = False,
    **changes: object,
) -> None:
    """Train a model, judge it on test and store it. Under torchrun the same command trains on many processes.

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
            f"--init must be random, imagenet or a safetensors file; there is no file {init_file}"
        )
    if run_dir is None and "RANK" in os.environ:
        raise ConfigError(
            "under torchrun --run-dir must name the run's folder, the same for every process"
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
        typer.Option(help="Name of the finished model; without it, the run folder's name."),
    ] = None,
    make_model: Store = True,
    at_once: AtOnce = False,
    as_json: Json = False,
) -> None:
    """Go on with an interrupted run after its last finished epoch.

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
            f"--fractions must be three shares such as 0.7/0.15/0.15, got {text!r}"
        ) from None
    return SplitFractions(train, val, test)


def _print_estimate(estimate: Estimate, as_json: bool) -> None:
    from covidxr.formatting import data_size, duration

    result = {**asdict(estimate), "seconds": estimate.seconds, "fits": estimate.fits}

    def show(console: Console) -> None:
        decoding = (
            f", and {duration(estimate.decode_seconds)} to decode the pictures, once"
            if estimate.decode_seconds
            else ""
        )
        console.print(
            f"about {duration(estimate.seconds)}: {estimate.epochs} epochs of {duration(estimate.seconds_an_epoch)} each{decoding}"
        )
        for size, what, free in (
            (estimate.run_bytes, "the run", estimate.free_bytes),
            (estimate.cache_bytes, "decoded pictures", estimate.cache_free_bytes),
        ):
            console.print(f"disk for {what}: {data_size(size)}; {data_size(free)} are free")

    print_result(result, as_json, show)


def _finish(run: RunFolder, model_id: str | None, make_model: bool, as_json: bool) -> None:
    from covidxr.runs.train import is_main_process

    if not is_main_process():
        return
    skipped: list[list[str]] = next(
        (event["skipped"] for event in reversed(run.events()) if event["event"] == "dataset"), []
    )
    result: dict[str, Any] = {"run": str(run.path), "status": run.status(), "skipped": skipped}
    if result["status"] == "finished" and make_model:
        result |= _store(run.path, model_id)

    def show(console: Console) -> None:
        console.print(f"run {result['run']}: {result['status']}", markup=False)
        for file, reason in skipped:
            console.print(f"skipped {file}: {reason}", markup=False)
        if "metrics" in result:
            _show_model(result, console)

    print_result(result, as_json, show)


def _store(run_dir: Path, model_id: str | None) -> dict[str, Any]:
    from covidxr.runs.publish import publish

    card = publish(run_dir, model_id or run_dir.name)
    metrics = {k: asdict(i) for k, i in card.metrics.items()}
    return {"model_id": card.model_id, "best_epoch": card.best_epoch, "metrics": metrics}


def _show_model(result: dict[str, Any], console: Console) -> None:
    accuracy, macro_f1 = (
        percent(interval(result["metrics"][key]), brief=True) for key in ("accuracy", "macro_f1")
    )
    console.print(
        f"model {result['model_id']}: accuracy on test {accuracy}, macro-F1 {macro_f1}",
        markup=False,
    )


def store(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")],
    model_id: Annotated[
        str | None, typer.Option(help="Name of the model; without it, the run folder's name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a model of a run's best epoch: judge it once on test, and write weights, card and predictions.

    Example: covidxr store runs/poster-cnn-20261122-191048 --model-id my-cnn
    """
    result = _store(run_dir, model_id)
    print_result(result, as_json, lambda console: _show_model(result, console))


def runs(
    run_dir: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs; without any, all of runs/.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write their curves there, as TensorBoard event files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List runs and how they stand, or export their curves to TensorBoard.

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
                f"{run.best.val_macro_f1:.1%} in epoch {run.best.epoch}" if run.best else "-",
                run.model_id or "-",
            ]
            for run in taken
        ]
        console.print(
            make_table(
                "Runs, the newest first",
                ["run", "state", "epochs", "best macro-F1 on val", "model"],
                rows,
            )
        )
        for name, epochs in written.items():
            console.print(f"{name}: {epochs} epochs written to {tensorboard}", markup=False)

    print_result(result, as_json, show)


def recipes(as_json: Json = False) -> None:
    """List the recipes.

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
    print_result(
        {"recipes": [asdict(r) for r in RECIPES.values()]},
        as_json,
        lambda c: c.print(make_table("Recipes", columns, rows)),
    )


def reproduce(
    data: Data = None,
    run_dir: Annotated[
        Path,
        typer.Option(
            help="Folder for the runs and models; run again with the same folder to go on."
        ),
    ] = Path("runs/reproduce"),
    init_file: Annotated[
        Path | None, typer.Option("--init", help="Safetensors file of ImageNet weights.")
    ] = None,
    protocol: Protocol = "grouped",
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of every recipe; without it, each recipe's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the study's four models anew and print the study's figures beside ours.

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
        columns = ["recipe", "study", "ours (95 % interval)", "macro-F1", "best epoch"]
        console.print(
            make_table(f"Accuracy on test: the study, and {result['data']}", columns, rows)
        )
        counts = ", ".join(f"{name} {n:,}" for name, n in result["class_counts"].items())
        console.print(
            f"Ours: {result['protocol']} split, seed {result['seed']}, n = {result['n']:,} test images; dataset: {counts}."
        )
        console.print(
            "The study: 21,165 images, stratified split, 3,175 test images; no intervals published."
        )

    print_result(result, as_json, show)
