"""From a run to a model: its best epoch, judged once on test, audited, described and stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from covidxr.cards import ModelCard, ShortcutCheck
from covidxr.config import weights_folder
from covidxr.datasets.duplicates import THUMBNAIL
from covidxr.datasets.pixels import decode
from covidxr.datasets.split_data import SplitData, split_data
from covidxr.errors import CovidxrError, ModelError
from covidxr.evaluation.stored import (
    check_dataset,
    predict_splits,
    split_metrics,
    stored_predictions,
)
from covidxr.lungs.crops import load_segmenter, lung_masks, seen_pixels, segmenter_sha256
from covidxr.lungs.masks import resize_mask
from covidxr.metrics.shortcuts import lungs_check
from covidxr.models import store
from covidxr.ood.fitting import make_gate
from covidxr.prediction.loading import load_model
from covidxr.records import Labels, Predictions, Scores
from covidxr.reports.model_card import draft_card
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.snapshot import epoch_figures

if TYPE_CHECKING:
    from torch import nn

    from covidxr.models.checkpoints import Fitted


def store_run(folder: Path, model_id: str, root: Path | None = None) -> ModelCard:
    """Make a model of a run's best epoch: judge the weights as they are stored on val and test, and write card and predictions.

    Raises RunError when the run has no finished epoch, ModelError when there is a model of that id already.
    """
    from covidxr.models.checkpoints import best_of_checkpoint

    root = root or weights_folder()
    store.new_model_folder(root, model_id)  # before minutes are spent on it
    run = RunFolder(folder)
    config, fitted = run.config(), best_of_checkpoint(run.checkpoint)
    with run.hold():
        run.report({"event": "storing"})
        try:
            card = _store(run, config, fitted, model_id, root)
        except CovidxrError as error:
            run.report({"event": "storing", "reason": str(error)})
            raise
        run.report({"event": "stored", "model_id": model_id})
    return card


def _store(
    run: RunFolder, config: RunConfig, fitted: Fitted, model_id: str, root: Path
) -> ModelCard:
    data = split_data(config.data, config.plan, config.skip_unreadable, excluded=config.excluded)
    weights = store.to_half(fitted.weights)
    card = draft_card(
        model_id,
        config.recipe,
        data.dataset,
        data.split,
        fitted.origin,
        fitted.best_epoch,
        fitted.seconds,
    )
    card = replace(
        card,
        preprocessing=replace(card.preprocessing, segmenter_sha256=segmenter_sha256(config.recipe)),
    )
    card = replace(
        card,
        learning_curve=tuple(epoch_figures(event) for event in run.epochs()),
        excluded=config.excluded,
    )
    network = store.restore_network(card, weights)
    predictions = predict_splits(network, card.preprocessing, data, ("val", "test"))
    card = replace(
        _judge(card, predictions), shortcuts=_audit_shortcuts(card, network, data, predictions)
    )
    sha256 = card.preprocessing.segmenter_sha256
    model = store.LoadedModel(card, network, load_segmenter(sha256) if sha256 else None)
    gate, figures = make_gate(model, data)
    store.save_model(root, replace(card, gate=figures), weights, predictions, gate)
    return store.read_card(root / model_id)


def _judge(card: ModelCard, predictions: Predictions) -> ModelCard:
    """Fit the temperature and choose thresholds on val, and write the figures on test into the card."""
    from covidxr.metrics.calibration import apply_temperature, fit_temperature, operating_points
    from covidxr.metrics.conformal import judge_sets

    val = predictions.take("val")
    temperature = fit_temperature(val.y_true, val.y_score)
    points = operating_points(
        val.y_true, apply_temperature(val.y_score, temperature), val.class_names
    )
    card = replace(card, temperature=temperature, operating_points=points)
    return replace(
        card,
        metrics=split_metrics(card, predictions),
        prediction_sets=judge_sets(predictions, temperature),
    )


def _audit_shortcuts(
    card: ModelCard, network: nn.Module, data: SplitData, predictions: Predictions
) -> tuple[ShortcutCheck, ...]:
    """Ask whether a picture's origin, and not what it shows, could carry the figures: baselines, contrasts, features."""
    from covidxr.metrics import shortcuts

    split = data.split
    small = decode(data.dataset, THUMBNAIL, skip_unreadable=True)
    thumbnails = small.array[small.rows(split.files)]
    train, test = split.rows("train"), split.rows("test")
    known = (split.labels, train, test, card.class_names, split.bound_groups)
    border = shortcuts.baseline_check("border", shortcuts.border_features(thumbnails), *known)
    intensity = shortcuts.baseline_check(
        "intensity", shortcuts.intensity_features(thumbnails), *known
    )
    within = shortcuts.within_source_checks(predictions)
    probes = _probe_sources(card, network, data, predictions)
    return (border, intensity, *within, *probes, *_lung_checks(card, network, data, predictions))


def _lung_checks(
    card: ModelCard, network: nn.Module, data: SplitData, predictions: Predictions
) -> tuple[ShortcutCheck, ...]:
    """Judge the model on test pictures whose lungs are blackened, and on such of which only the lungs are left."""
    from covidxr.models.inference import predict_scores

    if card.preprocessing.segmenter_sha256:
        return ()  # it sees nothing but the lungs anyway
    part = predictions.take("test")
    try:
        segmenter = load_segmenter()
    except ModelError as error:
        return (
            ShortcutCheck(
                "lungs-blackened", "any class", 0, {}, f"the lungs cannot be found ({error})"
            ),
        )
    size = card.preprocessing.image_size
    seen = decode(data.dataset, size, skip_unreadable=True)
    masks = lung_masks(data.dataset, part.samples, segmenter)
    found = np.asarray(masks.any(axis=(1, 2)))
    part, masks = part.where(found), masks[found]
    pixels = seen.array[seen.rows(part.samples)]
    inside = np.stack([resize_mask(mask, size) for mask in masks])

    def judge(
        kind: Literal["lungs-blackened", "lungs-only"], kept: npt.NDArray[np.bool_]
    ) -> ShortcutCheck:
        left = np.where(kept, pixels, np.uint8(0))
        scores = predict_scores(
            network, left, np.arange(len(part)), card.preprocessing, progress=kind
        )
        return lungs_check(
            kind, replace(part, y_score=scores), inside.mean(axis=(1, 2)), int((~found).sum())
        )

    return judge("lungs-blackened", ~inside), judge("lungs-only", inside)


def audit_shortcuts(model_id: str, data: Path | str) -> ModelCard:
    """Make a stored model's shortcut audit and prediction sets anew, on the dataset that it was judged on, and write its card.

    Raises DatasetError for another dataset.
    """
    from covidxr.metrics.conformal import judge_sets

    card, predictions = stored_predictions(model_id)
    divided = split_data(data, card.split, skip_unreadable=True, excluded=card.excluded)
    check_dataset(card, divided.dataset)
    checks = _audit_shortcuts(card, load_model(model_id, gated=False).network, divided, predictions)
    card = store.read_card(weights_folder() / model_id)  # its maps may have been judged meanwhile
    card = replace(
        card, shortcuts=checks, prediction_sets=judge_sets(predictions, card.temperature)
    )
    store.update_card(weights_folder(), card)
    return card


def _probe_sources(
    card: ModelCard, network: nn.Module, data: SplitData, predictions: Predictions
) -> tuple[ShortcutCheck, ...]:
    """Ask the penultimate features for the source, within each class that comes from several.

    The probe learns on val, whose pictures the network was not trained on, and is judged on test.
    """
    from covidxr.metrics.shortcuts import source_probe
    from covidxr.models.architectures import architecture
    from covidxr.models.inference import penultimate_features

    several = [name for name, tally in data.dataset.sources().items() if len(tally) > 1]
    if predictions.sources is None or not several:
        why = (
            "the dataset names no sources"
            if predictions.sources is None
            else "no class comes from more than one source"
        )
        return (ShortcutCheck("source-from-features", "any class", 0, {}, why),)
    pixels, head = (
        seen_pixels(card.preprocessing, data.dataset, skip_unreadable=True),
        architecture(card.architecture).head,
    )

    def part(name: str, split: str) -> tuple[Scores, tuple[str, ...], Labels | None]:
        own = predictions.take(split)
        own = own.where(own.y_true == card.class_names.index(name))
        features = penultimate_features(
            network, head, pixels.array, pixels.rows(own.samples), card.preprocessing
        )
        return features, own.sources or (), own.groups

    checks = []
    for name in several:
        features_fit, sources_fit, _ = part(name, "val")
        features_test, sources_test, groups = part(name, "test")
        checks.append(
            source_probe(features_fit, sources_fit, features_test, sources_test, name, groups)
        )
    return tuple(checks)
