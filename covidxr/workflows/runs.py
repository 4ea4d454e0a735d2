"""Runs: training, going on, and making a model of a finished one."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from covidxr.data.duplicates import THUMBNAIL
from covidxr.data.pixels import decode
from covidxr.data.splits import write_split
from covidxr.errors import CovidxrError, RunError
from covidxr.models import store
from covidxr.records import EpochFigures, Interval, Labels, ModelCard, Predictions, Scores, ShortcutCheck, SplitPlan
from covidxr.reports.model_card import draft_card
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.workflows.datasets import SplitData, split_data
from covidxr.workflows.evaluation import evaluate_predictions, predict_splits
from covidxr.workflows.models import weights_folder

if TYPE_CHECKING:
    from torch import nn


def is_main_process() -> bool:
    """Whether this process speaks for the run: under torchrun only the first writes to disk."""
    return os.environ.get("RANK", "0") == "0"


def train(config: RunConfig, folder: Path) -> RunFolder:
    """Start a run in a folder and train until it is finished, cancelled or failed. Raises RunError when the folder holds a run."""
    run = RunFolder(folder)
    with run.hold() if is_main_process() else nullcontext():
        if is_main_process():
            run.create(config)
        _train(run, config)
    return run


def resume(folder: Path) -> RunFolder:
    """Go on with a run after its last finished epoch. Raises RunError when it is going on already, or is no run."""
    run = RunFolder(folder)
    config = run.config()
    with run.hold() if is_main_process() else nullcontext():
        _train(run, config)
    return run


def _train(run: RunFolder, config: RunConfig) -> None:
    from covidxr.models.training import Cancelled, TrainingData, fit

    report = run.report if is_main_process() else lambda event: None
    report({"event": "started"})
    try:
        data = split_data(config.data, config.plan, config.skip_unreadable)
        dataset, split = data.dataset, data.split
        report({"event": "dataset", "n": len(dataset.samples), "skipped": [list(entry) for entry in dataset.skipped]})
        pixels = decode(dataset, config.recipe.image_size, config.skip_unreadable)
        if is_main_process():
            run.cancel.unlink(missing_ok=True)
            write_split(split, dataset.class_names, run.split)
        rows = pixels.rows(split.files)
        labels = np.zeros(len(pixels.files), dtype=np.int64)
        labels[rows] = split.labels
        fitted = fit(
            config.recipe,
            TrainingData(pixels.array, labels, rows[split.rows("train")], rows[split.rows("val")], dataset.class_names),
            run.checkpoint,
            report,
            run.cancel.exists,
            Path(config.init_file) if config.init_file else None,
        )
    except (Cancelled, KeyboardInterrupt):
        report({"event": "cancelled"})
    except CovidxrError as error:
        report({"event": "failed", "reason": str(error)})
        raise
    else:
        report({"event": "finished", "best_epoch": fitted.best_epoch, "best_macro_f1": fitted.best_macro_f1})


def store_run(folder: Path, model_id: str, root: Path | None = None) -> ModelCard:
    """Make a model of a run's best epoch: judge the weights as they are stored on val and test, and write card and predictions.

    Raises RunError when the run has no finished epoch, ModelError when there is a model of that id already.
    """
    from covidxr.models.checkpoints import best_of_checkpoint

    root = root or weights_folder()
    store.new_model_folder(root, model_id)  # before minutes are spent on it
    run = RunFolder(folder)
    config, fitted = run.config(), best_of_checkpoint(run.checkpoint)
    data = split_data(config.data, config.plan, config.skip_unreadable)
    weights = store.to_half(fitted.weights)
    card = draft_card(model_id, config.recipe, data.dataset, data.split, fitted.origin, fitted.best_epoch, fitted.seconds)
    card = replace(card, learning_curve=tuple(_epoch_figures(event) for event in run.epochs()))
    network = store.restore_network(card, weights)
    predictions = predict_splits(network, card.preprocessing, data, ("val", "test"))
    card = replace(_judge(card, predictions), shortcuts=_audit_shortcuts(card, network, data, predictions))
    store.save_model(root, card, weights, predictions)
    return store.read_card(root / model_id)


def _epoch_figures(event: dict[str, Any]) -> EpochFigures:
    return EpochFigures(**{field: event[field] for field in EpochFigures.__dataclass_fields__})


def _judge(card: ModelCard, predictions: Predictions) -> ModelCard:
    """Fit the temperature and choose the operating points on val, and write the figures on test into the card."""
    from covidxr.evaluation.calibration import apply_temperature, fit_temperature, operating_points

    val = predictions.take("val")
    temperature = fit_temperature(val.y_true, val.y_score)
    points = operating_points(val.y_true, apply_temperature(val.y_score, temperature), val.class_names)
    card = replace(card, temperature=temperature, operating_points=points)
    figures = asdict(evaluate_predictions(card, predictions, "test"))
    metrics = {k: Interval(**v) for k, v in figures.items() if isinstance(v, dict) and set(v) == {"estimate", "low", "high"}}
    return replace(card, metrics=metrics)


def _audit_shortcuts(card: ModelCard, network: nn.Module, data: SplitData, predictions: Predictions) -> tuple[ShortcutCheck, ...]:
    """Ask whether a picture's origin, and not what it shows, could carry the figures: baselines, contrasts, features."""
    from covidxr.evaluation import shortcuts

    split = data.split
    small = decode(data.dataset, THUMBNAIL, skip_unreadable=True)
    thumbnails = small.array[small.rows(split.files)]
    train, test = split.rows("train"), split.rows("test")
    known = (split.labels, train, test, card.class_names, split.bound_groups)
    border = shortcuts.baseline_check("border", shortcuts.border_features(thumbnails), *known)
    intensity = shortcuts.baseline_check("intensity", shortcuts.intensity_features(thumbnails), *known)
    return (border, intensity, *shortcuts.within_source_checks(predictions), *_probe_sources(card, network, data, predictions))


def _probe_sources(card: ModelCard, network: nn.Module, data: SplitData, predictions: Predictions) -> tuple[ShortcutCheck, ...]:
    """Ask the penultimate features for the source, within each class that comes from several.

    The probe learns on val, whose pictures the network was not trained on, and is judged on test.
    """
    from covidxr.evaluation.shortcuts import source_probe
    from covidxr.models.architectures import architecture
    from covidxr.models.inference import penultimate_features

    several = [name for name, tally in data.dataset.sources().items() if len(tally) > 1]
    if predictions.sources is None or not several:
        why = "the dataset names no sources" if predictions.sources is None else "no class comes from more than one source"
        return (ShortcutCheck("source-from-features", "any class", 0, {}, why),)
    pixels, head = decode(data.dataset, card.preprocessing.image_size, skip_unreadable=True), architecture(card.architecture).head

    def part(name: str, split: str) -> tuple[Scores, tuple[str, ...], Labels | None]:
        own = predictions.take(split)
        own = own.where(own.y_true == card.class_names.index(name))
        features = penultimate_features(network, head, pixels.array, pixels.rows(own.samples), card.preprocessing)
        return features, own.sources or (), own.groups

    checks = []
    for name in several:
        features_fit, sources_fit, _ = part(name, "val")
        features_test, sources_test, groups = part(name, "test")
        checks.append(source_probe(features_fit, sources_fit, features_test, sources_test, name, groups))
    return tuple(checks)


def reproduce(
    data: Path, folder: Path, plan: SplitPlan, init_file: Path | None = None, epochs: int | None = None
) -> dict[str, Any]:
    """Train the study's four recipes on a dataset, going on where an earlier call stopped, and set its figures beside the study's.

    The models lie in `folder/weights`. epochs: for every recipe; None keeps each recipe's own.
    """
    from covidxr.models.recipes import STUDY_ACCURACY, recipe

    rows: list[dict[str, Any]] = []
    for name, study_accuracy in STUDY_ACCURACY.items():
        run = RunFolder(folder / name)
        if not (folder / "weights" / name).exists():
            chosen = recipe(name).override(**({"epochs": epochs} if epochs else {}))
            config = RunConfig(chosen, plan, str(data.resolve()), str(init_file.resolve()) if init_file else None)
            run = resume(run.path) if run.status() != "new" else train(config, run.path)
            if run.status() != "finished":
                raise RunError(f"the run {run.path} was {run.status()}; call reproduce again with the same folder to go on")
            store_run(run.path, name, folder / "weights")
        card = store.read_card(folder / "weights" / name)
        figures = {key: asdict(card.metrics[key]) for key in ("accuracy", "macro_f1")}
        rows.append({"recipe": name, "study_accuracy": study_accuracy, "best_epoch": card.best_epoch, **figures})
    return {
        "data": card.dataset_name,
        "class_counts": {name: sum(card.class_counts[split][name] for split in card.class_counts) for name in card.class_names},
        "protocol": card.split.protocol,
        "seed": card.split.seed,
        "n": sum(card.class_counts["test"].values()),
        "models": rows,
    }
