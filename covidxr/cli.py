"""The command line: `covidxr COMMAND`, or `python -m covidxr COMMAND`."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer
from rich.console import Console
from rich.table import Table

from covidxr import __version__
from covidxr.errors import ConfigError, CovidxrError
from covidxr.records import RESEARCH_ONLY, Augmentation, Recipe, SplitFractions, SplitPlan

if TYPE_CHECKING:
    from covidxr.runs.journal import RunFolder

app = typer.Typer(help=f"Train, explain and use chest-X-ray classifiers. {RESEARCH_ONLY}", add_completion=False)
dataset_app = typer.Typer(help="Look at a dataset and divide it.", no_args_is_help=True)
app.add_typer(dataset_app, name="dataset")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Data = Annotated[Path | None, typer.Option(help="Folder or zip of the database; without it, synthetic phantoms.")]
Skip = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read, and list them.")]
Protocol = Annotated[str, typer.Option(help="grouped (patients and near-duplicates stay together) or stratified (the study's).")]
Seed = Annotated[int, typer.Option(help="Seed of the split.")]


def main() -> None:
    """Run the command line: exit 0, or 2 for a mistake of the user, whose sentence is printed; a bug keeps its traceback."""
    as_json = "--json" in sys.argv
    try:
        app(standalone_mode=False)
    except CovidxrError as error:
        _fail(str(error), as_json)
    except click.ClickException as error:
        if as_json:
            _fail(error.format_message(), as_json)
        error.show()
        sys.exit(2)
    except click.exceptions.Abort:
        sys.exit(130)


def _fail(sentence: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": sentence}, ensure_ascii=False))
    else:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _print(result: Any, as_json: bool, show: Callable[[Console], None]) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
    else:
        show(Console())


def _table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def _percent(interval: dict[str, float] | None) -> str:
    if interval is None:
        return "-"
    estimate, low, high = (interval[key] * 100 for key in ("estimate", "low", "high"))
    return f"{estimate:.1f} % ({low:.1f}-{high:.1f})"


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="New folder to write.")],
    per_class: Annotated[int, typer.Option(help="Images of each class.")] = 40,
    size: Annotated[int, typer.Option(help="Edge of the images in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same bytes.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a dataset of synthetic phantoms, not radiographs.

    Example: covidxr phantom phantoms --per-class 100
    """
    from covidxr.data.phantom import write_phantoms

    written = write_phantoms(folder, per_class, size, seed)
    _print({"folder": str(written), "images": 4 * per_class}, as_json, lambda c: c.print(f"{4 * per_class} phantoms in {written}"))


@dataset_app.command()
def summary(data: Data = None, skip_unreadable: Skip = False, as_json: Json = False) -> None:
    """Count the images by class and by source.

    Example: covidxr dataset summary --data COVID-19_Radiography_Dataset
    """
    from covidxr import workflows
    from covidxr.data.dataset import open_dataset
    from covidxr.data.duplicates import THUMBNAIL
    from covidxr.data.pixels import decode

    dataset = open_dataset(data or workflows.default_dataset())
    dataset = dataset.without(decode(dataset, THUMBNAIL, skip_unreadable).skipped)
    sources = dataset.sources()
    result = {
        "data": str(dataset.path),
        "synthetic": dataset.synthetic,
        "fingerprint": dataset.fingerprint,
        "n": len(dataset.samples),
        "classes": dataset.class_counts(),
        "sources": sources,
        "masks": sum(s.mask is not None for s in dataset.samples),
        "skipped": [{"file": file, "reason": reason} for file, reason in dataset.skipped],
    }

    def show(console: Console) -> None:
        note = " (synthetic phantoms, not radiographs)" if dataset.synthetic else ""
        rows = [[n, f"{c:,}", ", ".join(f"{s} {k:,}" for s, k in sources[n].items())] for n, c in dataset.class_counts().items()]
        console.print(_table(f"{dataset.path}{note}: {len(dataset.samples):,} images", ["class", "images", "sources"], rows))
        for file, reason in dataset.skipped:
            console.print(f"skipped {file}: {reason}", markup=False)

    _print(result, as_json, show)


@dataset_app.command()
def split(
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    data: Data = None,
    protocol: Protocol = "grouped",
    seed: Seed = 0,
    train: Annotated[float, typer.Option(help="Share of the training images.")] = 0.70,
    val: Annotated[float, typer.Option(help="Share of the validation images.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the test images.")] = 0.15,
    skip_unreadable: Skip = False,
    as_json: Json = False,
) -> None:
    """Divide a dataset into train, val and test, and write the split as CSV.

    Example: covidxr dataset split --data COVID-19_Radiography_Dataset --out split.csv
    """
    from covidxr import workflows
    from covidxr.data.splits import write_split

    plan = SplitPlan(protocol, seed, SplitFractions(train, val, test))  # type: ignore[arg-type]
    divided = workflows.split_data(data or workflows.default_dataset(), plan, skip_unreadable)
    names = divided.dataset.class_names
    write_split(divided.split, names, out)
    counts = divided.split.counts(names)
    result = {"out": str(out), "protocol": protocol, "seed": seed, "fingerprint": divided.split.fingerprint, "counts": counts}
    rows = [[name, *(f"{c[n]:,}" for n in names)] for name, c in counts.items()]
    title = f"{protocol}, seed {seed}, fingerprint {divided.split.fingerprint}"
    _print(result, as_json, lambda c: c.print(_table(title, ["split", *names], rows)))


def _recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of the recipe and its augmentation (but `init`, which --init FILE decides)."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = inspect.get_annotations(Recipe, eval_str=True) | inspect.get_annotations(Augmentation, eval_str=True)
    own = [f for f in (*fields(Recipe), *fields(Augmentation)) if f.name not in ("name", "init", "augmentation")]
    added = []
    for field in own:
        hint = hints[field.name]
        kind = hint if hint in (int, float, bool) else int if hint == int | None else str
        option = typer.Option(help="Recipe field; without it, the recipe's own value.", show_default=False)
        added.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])
        )
    command.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*kept, *added)} | {"return": None}
    return command


@app.command()
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
    plan = SplitPlan(protocol, split_seed)  # type: ignore[arg-type]
    source = (data or workflows.default_dataset()).expanduser().resolve()
    config = RunConfig(chosen, plan, str(source), str(init_file.resolve()) if init_file else None, skip_unreadable)
    _finish(workflows.train(config, folder), model_id, as_json)


@app.command()
def resume(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")],
    model_id: Annotated[str | None, typer.Option(help="Name of the finished model; without it, the run folder's name.")] = None,
    as_json: Json = False,
) -> None:
    """Go on with an interrupted run after its last finished epoch.

    Example: covidxr resume runs/poster-cnn-20261122-191048
    """
    from covidxr import workflows

    _finish(workflows.resume(run_dir), model_id, as_json)


def _finish(run: RunFolder, model_id: str | None, as_json: bool) -> None:
    from covidxr import workflows

    if not workflows.is_main_process():
        return
    result: dict[str, Any] = {"run": str(run.path), "status": run.status()}
    if result["status"] == "finished":
        card = workflows.store_run(run.path, model_id or run.path.name)
        result |= {
            "model_id": card.model_id,
            "best_epoch": card.best_epoch,
            "metrics": {k: asdict(i) for k, i in card.metrics.items()},
        }

    def show(console: Console) -> None:
        console.print(f"run {result['run']}: {result['status']}", markup=False)
        if "metrics" in result:
            accuracy, macro_f1 = (_percent(result["metrics"][key]) for key in ("accuracy", "macro_f1"))
            console.print(f"model {result['model_id']}: accuracy on test {accuracy}, macro-F1 {macro_f1}", markup=False)

    _print(result, as_json, show)


@app.command()
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
    _print({"recipes": [asdict(r) for r in RECIPES.values()]}, as_json, lambda c: c.print(_table("Recipes", columns, rows)))


@app.command()
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
                _percent(row["accuracy"]),
                _percent(row["macro_f1"]),
                str(row["best_epoch"]),
            ]
            for row in result["models"]
        ]
        columns = ["recipe", "study", "ours (95 % interval)", "macro-F1", "best epoch"]
        console.print(_table(f"Accuracy on test: the study, and {result['data']}", columns, rows))
        counts = ", ".join(f"{name} {n:,}" for name, n in result["class_counts"].items())
        console.print(
            f"Ours: {result['protocol']} split, seed {result['seed']}, n = {result['n']:,} test images; dataset: {counts}."
        )
        console.print("The study: 21,165 images, stratified split, 3,175 test images; no intervals published.")

    _print(result, as_json, show)


@app.command()
def models(
    action: Annotated[str, typer.Argument(help="`verify` loads every model and checks its hash; `list` reads the cards.")] = "list",
    as_json: Json = False,
) -> None:
    """List the stored models, or verify them.

    Example: covidxr models verify
    """
    from covidxr import workflows

    if action not in ("list", "verify"):
        raise ConfigError(f"expected `covidxr models` or `covidxr models verify`, got {action!r}")
    entries = workflows.list_models()
    errors = workflows.verify_models() if action == "verify" else {e.model_id: e.error for e in entries}
    result = [
        {"model_id": e.model_id, "architecture": e.card.architecture if e.card else None, "ok": errors[e.model_id] is None}
        | ({"error": errors[e.model_id]} if errors[e.model_id] else {})
        for e in entries
    ]

    def show(console: Console) -> None:
        rows = [
            [
                e.model_id,
                e.card.architecture if e.card else "-",
                _percent(asdict(e.card.metrics["accuracy"]) if e.card else None),
                errors[e.model_id] or "ok",
            ]
            for e in entries
        ]
        console.print(_table(str(workflows.weights_folder()), ["model", "architecture", "accuracy on test", "state"], rows))

    _print({"models": result}, as_json, show)
    if any(errors.values()):
        sys.exit(2)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: Annotated[
        Path | None, typer.Option(help="The model's dataset, to predict anew; without it, the stored predictions.")
    ] = None,
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    as_json: Json = False,
) -> None:
    """Print a model's figures with 95 % intervals.

    Example: covidxr evaluate covidxr-resnet18 --json
    """
    from covidxr import workflows

    result = workflows.evaluate_model(model, data, split)

    def show(console: Console) -> None:
        console.print(f"{model}, {split}, n = {result['n']:,}; every figure with its 95 % interval", markup=False)
        columns = ["class", "n", "sensitivity", "specificity", "PPV", "NPV", "F1", "AUROC"]
        keys = ["sensitivity", "specificity", "ppv", "npv", "f1", "auroc"]
        rows = [[name, str(c["support"]), *(_percent(c[k]) for k in keys)] for name, c in result["per_class"].items()]
        console.print(_table("By class", columns, rows))
        whole = ["accuracy", "balanced_accuracy", "macro_f1", "ece"]
        console.print(_table("Over all", whole, [[_percent(result[k]) for k in whole]]))

    _print(result, as_json, show)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="Model id.")],
    paths: Annotated[list[Path], typer.Argument(help="Pictures (PNG, JPEG, TIFF), folders or zips.")],
    explain: Annotated[Path | None, typer.Option(help="Folder for the heat maps of the predicted classes, as PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Print the class probabilities of pictures. One that cannot be read is a row with its reason; the others go on.

    Example: covidxr predict covidxr-resnet18 scans/ --explain heatmaps
    """
    from covidxr import workflows

    rows = workflows.predict_paths(model, paths, explain)

    def show(console: Console) -> None:
        names = list(next((row["probabilities"] for row in rows if "probabilities" in row), {}))
        table = Table("picture", "predicted", *names, title=f"{model}. {RESEARCH_ONLY}", title_justify="left")
        for row in rows:
            if "error" in row:
                table.add_row(row["path"], f"not read: {row['error']}")
            else:
                table.add_row(row["path"], row["predicted"], *(f"{row['probabilities'][n]:.1%}" for n in names))
        console.print(table, markup=False)

    _print({"model_id": model, "predictions": rows}, as_json, show)
    if rows and all("error" in row for row in rows):
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
