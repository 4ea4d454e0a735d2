"""Commands on stored models: models, evaluate, compare, audit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from covidxr.cli.output import (
    Data,
    Json,
    interval,
    make_table,
    print_lines,
    print_result,
)
from covidxr.errors import ConfigError
from covidxr.formatting import NO_VALUE, decimal, decimal_difference, percent
from covidxr.models.store import LUNGS, LUNGS_ARCHITECTURE
from covidxr.records import display_name

_PERCENTAGES = {"sensitivity", "specificity", "ppv", "npv", "f1"}
_PERCENTAGES |= {"accuracy", "balanced_accuracy", "macro_f1", "ece"}
_TITLES = {"f1": "F1", "macro_f1": "macro-F1", "brier": "Brier score", "youden": "Youden"}
_TITLES |= {name: name.upper() for name in ("ppv", "npv", "auroc", "auprc", "mcc", "nll", "ece")}


def models(
    action: Annotated[
        str,
        typer.Argument(
            help="list reads the cards, verify loads every model, fetch downloads released models."
        ),
    ] = "list",
    model: Annotated[
        list[str] | None,
        typer.Argument(help="Model IDs to fetch. Default: all released models."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the stored models, verify them, or fetch released ones.

    fetch needs an address in COVIDXR_MODELS_URL and checks the sha256 of every file.

    Example: covidxr models verify
    """
    from covidxr.config import weights_folder
    from covidxr.prediction.loading import list_models, verify_models

    if action == "fetch":
        _fetch(weights_folder(), model or [], as_json)
        return
    if action not in ("list", "verify"):
        raise ConfigError(
            f"expected `covidxr models`, followed by list, verify or fetch, got {action!r}"
        )
    if model:
        raise ConfigError(f"model IDs belong to `covidxr models fetch`, not to {action!r}")
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
                e.card.architecture if e.card else NO_VALUE,
                percent(e.card.metrics["accuracy"] if e.card else None, brief=True),
                errors[e.model_id] or "ok",
            ]
            for e in entries
        ]
        columns = ["model", "architecture", "test accuracy (95% CI)", "status"]
        console.print(make_table(str(weights_folder()), columns, rows))
        if verified:
            print_lines(console, f"{LUNGS} (lung segmenter): {errors[LUNGS] or 'ok'}")

    print_result({"models": result}, as_json, show)
    if any(errors.values()):
        sys.exit(2)


def _fetch(root: Path, model_ids: list[str], as_json: bool) -> None:
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

        found = fetch_models(root, model_ids, progress=advance)
    words = {"present": "already stored", "fetched": "fetched"}
    lines = [f"{one.model_id}: {words[one.state]}" for one in found]
    result = {"folder": str(root), "fetched": [asdict(one) for one in found]}
    lines.append(f"Models are stored in {root}")
    print_result(result, as_json, lambda console: print_lines(console, *lines))


def evaluate(
    model: Annotated[str, typer.Argument(help="Model ID.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="The model's own dataset, to predict again. Default: the stored predictions."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            help="CLASS=FRACTION, such as COVID=0.02: adds PPV and NPV at that prevalence. "
            "Repeatable."
        ),
    ] = None,
    external: Annotated[
        Path | None,
        typer.Option(
            help="Another dataset (folder, zip or name of an import) for an external evaluation, "
            "which is stored with the model."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the external evaluation. Default: the dataset's name."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a model's metrics with 95% CI on its own dataset or, with --external, on another.

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

    fractions = dict(_class_fraction(text) for text in prevalence or ())
    folder = model_folder(weights_folder(), model)
    if external is None:
        if name is not None:
            raise ConfigError(
                f"--name {name} names an external evaluation: add --external DATASET or drop it"
            )
        if data is None:
            result = evaluation_json(*stored_predictions(model), split, fractions)
        else:
            result = predict_again(load_classifier(model), open_dataset(data), split, fractions)
    elif data is not None or split != "test":
        raise ConfigError(
            "--external evaluates another dataset, its test split or all of it: drop --data and "
            "--split"
        )
    else:
        classifier = load_classifier(model)
        result = evaluate_external(classifier, open_dataset(external), folder, name, fractions)

    def show(console: Console) -> None:
        on = split
        if external is not None:
            on = f"external evaluation {result['external']} ({result['left_out']:,} images skipped)"
        print_lines(console, f"{model}, {on}, n = {result['n']:,}, all values with 95% CI")
        for table in _evaluation_tables(result):
            console.print(table)
        print_lines(console, *_prevalence_lines(result))
        if split == "test" and external is None:
            print_lines(console, *(f"- {line}" for line in shortcut_sentences(read_card(folder))))

    print_result(result, as_json, show)


def _class_fraction(text: str) -> tuple[str, float]:
    """Parse CLASS=FRACTION."""
    name, _, fraction = text.rpartition("=")
    try:
        return name, float(fraction)
    except ValueError:
        raise ConfigError(
            f"expected --prevalence CLASS=FRACTION, such as COVID=0.02, got {text!r}"
        ) from None


def _title(metric: str) -> str:
    return _TITLES.get(metric, metric.replace("_", " "))


def _evaluation_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Yield the tables of an evaluation, none wider than 80 columns."""

    def write(values: dict[str, Any], metric: str) -> str:
        form = percent if metric in _PERCENTAGES else decimal
        return form(interval(values[metric]), brief=True)

    for metrics in (("sensitivity", "specificity", "ppv", "npv"), ("f1", "auroc", "auprc")):
        rows = [
            [display_name(name), f"{own['support']:,}"] + [write(own, metric) for metric in metrics]
            for name, own in result["per_class"].items()
        ]
        yield make_table("By class", ["class", "n", *map(_title, metrics)], rows)
    overall = ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "mcc")
    rows = [[_title(metric), write(result, metric)] for metric in overall]
    yield make_table("Overall", ["metric", "value"], rows)
    rows = [
        [_title(metric), write(result["uncalibrated"], metric), write(result, metric)]
        for metric in ("nll", "brier", "ece")
    ]
    title = f"Calibration, temperature {result['temperature']:.2f}"
    yield make_table(title, ["metric", "uncalibrated", "calibrated"], rows)
    rows = [
        [display_name(name), _title(rule), f"{point['threshold']:.1%}"]
        + [write(point, metric) for metric in ("sensitivity", "specificity")]
        for name, rules in result["operating_points"].items()
        for rule, point in rules.items()
        if point
    ]
    columns = ["class", "rule", "threshold", "sensitivity", "specificity"]
    yield make_table("Operating points, selected on val", columns, rows)
    rows = [
        [name, f"{own['n']:,}", write(own, "accuracy")] for name, own in result["sources"].items()
    ]
    if rows:
        yield make_table("By source", ["source", "n", "accuracy"], rows)


def _prevalence_lines(result: dict[str, Any]) -> Iterator[str]:
    for name, own in result["per_class"].items():
        if own["prevalence"] is not None:
            ppv, npv = (
                percent(interval(own[f"{metric}_at_prevalence"]), brief=True)
                for metric in ("ppv", "npv")
            )
            where = f"{display_name(name)} at a prevalence of {own['prevalence']:.1%}"
            yield f"{where}: PPV {ppv}, NPV {npv}"


def compare(
    model: Annotated[list[str], typer.Argument(help="Two or more model IDs.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    intersect: Annotated[
        bool, typer.Option("--intersect", help="Compare on the samples that all models share.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare models by paired tests on the same samples, Holm-corrected for multiple comparisons.

    Example: covidxr compare poster-resnet18-pretrained covidxr-resnet18
    """
    from covidxr.evaluation.stored import compare_stored
    from covidxr.formatting import p_value, points

    result = compare_stored(model, split, intersect)

    def show(console: Console) -> None:
        print_lines(
            console,
            f"{split}, n = {result.n:,}, differences: first model minus second, with 95% CI",
        )
        for pair in result.pairs:
            macro_f1, p = points(pair.macro_f1_difference), p_value(pair.macro_f1_p_holm)
            print_lines(console, pair.sentence, f"  macro-F1: {macro_f1}, {p}")
            for name, area in pair.auroc.items():
                p = area.note if area.p_holm is None else p_value(area.p_holm)
                print_lines(
                    console,
                    f"  AUROC, {display_name(name)}: {decimal_difference(area.difference)}, {p}",
                )
        print_lines(console, *result.notes)

    print_result(asdict(result), as_json, show)


def audit(
    model: Annotated[str, typer.Argument(help="Model ID.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Repeat a model's shortcut audit, prediction sets and OOD detector, and update its card.

    Example: covidxr audit covidxr-resnet18 --data COVID-19_Radiography_Dataset
    """
    from covidxr.config import weights_folder
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.datasets.splits import split_as_trained
    from covidxr.evaluation.shortcut_audit import audit_model
    from covidxr.models import store
    from covidxr.prediction.loading import find_segmenter, load_classifier
    from covidxr.reports.model_card import shortcut_sentences

    root = weights_folder()
    classifier = load_classifier(model, with_detector=False)
    splits = split_as_trained(open_dataset(data or default_dataset()), classifier.card)
    predictions = store.read_predictions(root / model)
    audited, detector = audit_model(classifier, splits, predictions, find_segmenter())
    # Another process may have updated the card meanwhile: only what was audited is replaced.
    card = replace(
        store.read_card(root / model),
        shortcuts=audited.shortcuts,
        prediction_sets=audited.prediction_sets,
        gate=audited.gate,
    )
    store.update_card(root, card, detector)
    result = {"model_id": model, "shortcuts": [asdict(check) for check in card.shortcuts]}
    lines = [f"- {sentence}" for sentence in shortcut_sentences(card)]
    print_result(result, as_json, lambda console: print_lines(console, *lines))
