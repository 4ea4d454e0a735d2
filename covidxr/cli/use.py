"""Commands on stored models: models, evaluate, compare, predict."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from covidxr.cli.output import Json, interval, make_table, print_result
from covidxr.errors import ConfigError
from covidxr.formatting import decimal, percent
from covidxr.models.store import LUNGS, LUNGS_ARCHITECTURE
from covidxr.records import RESEARCH_ONLY


def models(
    action: Annotated[
        str,
        typer.Argument(
            help="`list` reads the cards, `verify` loads every model, `fetch` downloads released ones."
        ),
    ] = "list",
    model: Annotated[
        list[str] | None,
        typer.Argument(help="Model ids to fetch; without them, all released models."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="With fetch: replace models that differ from the released."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the stored models, verify them, or fetch released ones.

    `fetch` needs an address in COVIDXR_MODELS_URL and checks every file against its sha256.

    Example: covidxr models verify
    """
    from covidxr.config import weights_folder
    from covidxr.prediction.loading import list_models, verify_models

    if action == "fetch":
        _fetch(weights_folder(), model or [], force, as_json)
        return
    if action not in ("list", "verify"):
        raise ConfigError(
            f"expected `covidxr models`, followed by list, verify or fetch, got {action!r}"
        )
    if model or force:
        raise ConfigError(
            f"model ids and --force belong to `covidxr models fetch`, not to {action!r}"
        )
    entries = list_models()
    errors = verify_models() if action == "verify" else {e.model_id: e.error for e in entries}
    result = [
        {
            "model_id": e.model_id,
            "architecture": e.card.architecture if e.card else None,
            "ok": errors[e.model_id] is None,
        }
        | ({"error": errors[e.model_id]} if errors[e.model_id] else {})
        for e in entries
    ]
    verified = LUNGS in errors
    if verified:
        result.append(
            {"model_id": LUNGS, "architecture": LUNGS_ARCHITECTURE, "ok": errors[LUNGS] is None}
        )
        result[-1] |= {"error": errors[LUNGS]} if errors[LUNGS] else {}

    def show(console: Console) -> None:
        rows = [
            [
                e.model_id,
                e.card.architecture if e.card else "-",
                percent(e.card.metrics["accuracy"] if e.card else None, brief=True),
                errors[e.model_id] or "ok",
            ]
            for e in entries
        ]
        console.print(
            make_table(
                str(weights_folder()), ["model", "architecture", "accuracy on test", "state"], rows
            )
        )
        if verified:
            console.print(f"{LUNGS}, which finds the lungs: {errors[LUNGS] or 'ok'}", markup=False)

    print_result({"models": result}, as_json, show)
    if any(errors.values()):
        sys.exit(2)


def _fetch(root: Path, model_ids: list[str], force: bool, as_json: bool) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from covidxr.models.fetch import fetch_models, released

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=as_json
    ) as progress:
        tasks = {
            model.model_id: progress.add_task(model.model_id, total=model.size, start=False)
            for model in released(model_ids)
        }

        def advance(model_id: str, size: int) -> None:
            progress.start_task(tasks[model_id])
            progress.advance(tasks[model_id], size)

        found = fetch_models(root, model_ids, force=force, progress=advance)
    words = {"present": "already stored", "fetched": "fetched", "replaced": "replaced"}

    def show(console: Console) -> None:
        for one in found:
            console.print(f"{one.model_id}: {words[one.state]}", markup=False, highlight=False)
        console.print(f"Models are stored in {root}", markup=False, highlight=False)

    print_result({"folder": str(root), "fetched": [asdict(one) for one in found]}, as_json, show)


def evaluate(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="The model's dataset, to predict anew; without it, the stored predictions."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            help="CLASS=SHARE, such as COVID=0.02: PPV and NPV there as well; may be repeated."
        ),
    ] = None,
    external: Annotated[
        Path | None,
        typer.Option(
            help="Another dataset, to judge the model on and store what it said: folder, zip or import."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What to call the external test; without it, the dataset's name."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a model's figures with 95 % intervals, on its own dataset or, with --external, on another.

    Example: covidxr evaluate covidxr-resnet18 --json
    """
    from covidxr.config import weights_folder
    from covidxr.datasets.opening import open_dataset
    from covidxr.evaluation.external import evaluate_external
    from covidxr.evaluation.results import evaluation_json
    from covidxr.evaluation.stored import evaluate as predict_again
    from covidxr.evaluation.stored import stored_predictions
    from covidxr.models.store import model_folder, read_card
    from covidxr.prediction.loading import load_classifier
    from covidxr.reports.model_card import shortcut_sentences

    shares = dict(_class_share(text) for text in prevalence or ())
    if external is None:
        if name is not None:
            raise ConfigError(
                f"--name {name} names an external test: name its dataset with --external as well"
            )
        if data is None:
            result = evaluation_json(*stored_predictions(model), split, shares)
        else:
            result = predict_again(load_classifier(model), open_dataset(data), split, shares)
    elif data is not None or split != "test":
        raise ConfigError(
            "--external judges another dataset, all of it or its own test split: leave out --data and --split"
        )
    else:
        folder = model_folder(weights_folder(), model)
        classifier = load_classifier(model)
        result = evaluate_external(classifier, open_dataset(external), folder, name, shares)

    def show(console: Console) -> None:
        on = (
            split
            if external is None
            else f"external test {result['external']} ({result['left_out']:,} pictures left out)"
        )
        console.print(
            f"{model}, {on}, n = {result['n']:,}; every figure with its 95 % interval", markup=False
        )
        # Two tables, since one would be cut off on a terminal of 80 columns.
        for keys in (("sensitivity", "specificity", "ppv", "npv"), ("f1", "auroc", "auprc")):
            rows = [
                [name, f"{c['support']:,}", *(percent(interval(c[k]), brief=True) for k in keys)]
                for name, c in result["per_class"].items()
            ]
            console.print(make_table("By class", ["class", "n", *keys], rows))
        rows = [
            [name, percent(interval(result[name]), brief=True)]
            for name in ("accuracy", "balanced_accuracy", "macro_f1")
        ]
        rows += [
            [name, decimal(interval(result[name]), brief=True)]
            for name in ("kappa", "mcc")
            if result[name]
        ]
        console.print(make_table("Over all", ["figure", "value"], rows))
        for name, own in result["per_class"].items():
            if own["prevalence"] is not None:
                ppv, npv = (
                    percent(interval(own["ppv_at_prevalence"]), brief=True),
                    percent(interval(own["npv_at_prevalence"]), brief=True),
                )
                console.print(
                    f"{name} at a prevalence of {own['prevalence']:.1%}: PPV {ppv}, NPV {npv}",
                    markup=False,
                )
        losses = {"nll": decimal, "brier": decimal, "ece": percent}
        before = [
            [
                name,
                write(interval(result["uncalibrated"][name]), brief=True),
                write(interval(result[name]), brief=True),
            ]
            for name, write in losses.items()
        ]
        console.print(
            make_table(
                f"Temperature {result['temperature']:.2f}",
                ["calibration", "before", "after"],
                before,
            )
        )
        points = [
            [
                name,
                rule,
                f"{point['threshold']:.1%}",
                percent(interval(point["sensitivity"]), brief=True),
                percent(interval(point["specificity"]), brief=True),
            ]
            for name, rules in result["operating_points"].items()
            for rule, point in rules.items()
            if point
        ]
        columns = ["class", "rule", "threshold", "sensitivity", "specificity"]
        console.print(make_table("Operating points, chosen on val", columns, points))
        sources = [
            [name, f"{own['n']:,}", percent(interval(own["accuracy"]), brief=True)]
            for name, own in result["sources"].items()
        ]
        if sources:
            console.print(make_table("By source", ["source", "n", "accuracy"], sources))
        if split == "test" and external is None:
            for sentence in shortcut_sentences(read_card(model_folder(weights_folder(), model))):
                console.print(f"- {sentence}", markup=False, highlight=False)

    print_result(result, as_json, show)


def _class_share(text: str) -> tuple[str, float]:
    """Read CLASS=SHARE."""
    name, _, share = text.rpartition("=")
    try:
        return name, float(share)
    except ValueError:
        raise ConfigError(
            f"expected --prevalence CLASS=SHARE, such as COVID=0.02, got {text!r}"
        ) from None


def compare(
    model: Annotated[list[str], typer.Argument(help="Two or more model ids.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    intersect: Annotated[
        bool, typer.Option("--intersect", help="Compare on the samples that all models share.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say which differences between models are real: paired tests on the same samples, corrected for their number.

    Example: covidxr compare poster-resnet18-pretrained covidxr-resnet18
    """
    from covidxr.evaluation.stored import compare_stored
    from covidxr.formatting import p_value, points

    result = compare_stored(model, split, intersect)

    def show(console: Console) -> None:
        console.print(f"{split}, n = {result.n:,}", markup=False)
        for pair in result.pairs:
            console.print(pair.sentence, markup=False)
            p = p_value(pair.macro_f1_p_holm)
            console.print(
                f"  macro-F1 of {pair.a} less {pair.b}: {points(pair.macro_f1_difference)}, {p}",
                markup=False,
            )
            for name, area in pair.auroc.items():
                tail = f", {p_value(area.p_holm)}" if area.p_holm is not None else f" ({area.note})"
                console.print(f"  AUROC of {name}: {points(area.difference)}{tail}", markup=False)
        for note in result.notes:
            console.print(note, markup=False)

    print_result(asdict(result), as_json, show)


def predict(
    model: Annotated[str, typer.Argument(help="Model id.")],
    paths: Annotated[
        list[str], typer.Argument(help="Pictures (PNG, JPEG, TIFF, DICOM), folders or zips.")
    ],
    explain: Annotated[
        Path | None, typer.Option(help="Folder for the heat maps of the predicted classes, as PNG.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="File for all rows as a table, with verdicts, uncertainty and reasons."),
    ] = None,
    engine: Annotated[
        Literal["plain", "ray"],
        typer.Option(
            help="ray: one folder or address, such as s3://BUCKET/FOLDER, on all cores or a cluster."
        ),
    ] = "plain",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the rows of --engine ray, as Parquet; called again, it goes on."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the class probabilities of pictures. One that cannot be read is a row with its reason; the others go on.

    Example: covidxr predict covidxr-resnet18 scans/ --explain heatmaps
    """
    from covidxr.prediction.cases import predict_files
    from covidxr.prediction.loading import load_classifier

    if engine == "ray":
        if explain is not None or csv is not None:
            raise ConfigError(
                "--engine ray writes rows as Parquet into --out and nothing else: leave out --explain and --csv"
            )
        if out is None or len(paths) != 1:
            raise ConfigError(
                "--engine ray takes one folder or address and writes into one folder: predict MODEL SOURCE --engine ray --out DIR"
            )
        _predict_archive(model, paths[0], out, as_json)
        return
    if out is not None:
        raise ConfigError(
            f"--out {out} is where --engine ray writes: name that engine too, or use --csv FILE"
        )
    rows = predict_files(load_classifier(model), [Path(path) for path in paths], explain, csv)

    def show(console: Console) -> None:
        names = list(next((row["probabilities"] for row in rows if "probabilities" in row), {}))
        table = Table(
            "picture", "predicted", *names, title=f"{model}. {RESEARCH_ONLY}", title_justify="left"
        )
        for row in rows:
            if "error" in row:
                table.add_row(
                    row["path"],
                    f"not {'judged' if row['verdict'] == 'refused' else 'read'}: {row['error']}",
                )
            else:
                table.add_row(
                    row["path"],
                    row["predicted"],
                    *(f"{row['probabilities'][n]:.1%}" for n in names),
                )
        console.print(table, markup=False)

    print_result({"model_id": model, "predictions": rows}, as_json, show)
    if rows and all("error" in row for row in rows):
        sys.exit(2)


def _predict_archive(model: str, source: str, out: Path, as_json: bool) -> None:
    from covidxr.prediction.archive import score_archive

    counts = score_archive(model, source, out)

    def show(console: Console) -> None:
        console.print(
            f"{counts.files:,} pictures: {counts.answered:,} answered, {counts.refused:,} refused, {counts.unreadable:,} not read; "
            f"{counts.skipped:,} of them had been written before. The rows are in {counts.out}, as Parquet. {RESEARCH_ONLY}",
            markup=False,
            highlight=False,
        )

    print_result({"engine": "ray"} | asdict(counts), as_json, show)
    if not counts.answered:
        sys.exit(2)
