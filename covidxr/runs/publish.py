"""Publication of a run as a model: evaluated on test, audited, and stored with its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from covidxr.cards import ModelCard
from covidxr.config import weights_folder
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data
from covidxr.errors import CovidxrError
from covidxr.evaluation.predictions import predict_splits
from covidxr.evaluation.results import split_metrics
from covidxr.evaluation.shortcut_audit import audit_shortcuts
from covidxr.metrics.calibration import apply_temperature, fit_temperature, operating_points
from covidxr.metrics.conformal import evaluate_sets
from covidxr.models import store
from covidxr.models.checkpoints import Fitted, best_of_checkpoint
from covidxr.models.classifier import Classifier
from covidxr.ood.fitting import fit_detector
from covidxr.prediction.loading import find_segmenter, segmenter_for
from covidxr.records import Predictions
from covidxr.reports.model_card import draft_card
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.snapshot import epoch_metrics


def publish(folder: Path, model_id: str, root: Path | None = None) -> ModelCard:
    """Publish the best epoch of a run as a model.

    The weights are evaluated as they are stored, in half precision, on val and test.

    Args:
        folder: Of the run.
        model_id: Name of the model.
        root: Folder of the models; None for the configured one.

    Returns:
        The card of the model.

    Raises:
        RunError: For a run without a completed epoch.
        ModelError: For the name of an existing model.
    """
    root = root or weights_folder()
    # Rejects a wrong name before minutes are spent.
    store.new_model_folder(root, model_id)
    run = RunFolder(folder)
    config, fitted = run.config(), best_of_checkpoint(run.checkpoint)
    with run.hold():
        run.report({"event": "storing"})
        try:
            card = _publish(run, config, fitted, model_id, root)
        except CovidxrError as error:
            run.report({"event": "storing", "reason": str(error)})
            raise
        run.report({"event": "stored", "model_id": model_id})
    return card


def _publish(
    run: RunFolder, config: RunConfig, fitted: Fitted, model_id: str, root: Path
) -> ModelCard:
    dataset, segmenter = open_dataset(config.data), segmenter_for(config.recipe)
    data = split_data(dataset, config.plan, config.skip_unreadable, excluded=config.excluded)
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
    sha256 = segmenter.sha256 if segmenter else ""
    card = replace(
        card,
        preprocessing=replace(card.preprocessing, segmenter_sha256=sha256),
        learning_curve=tuple(epoch_metrics(event) for event in run.epochs()),
        excluded=config.excluded,
    )
    model = Classifier(card, store.restore_network(card, weights), segmenter)
    predictions = predict_splits(model, data, ("val", "test"))
    card = _with_evaluation(card, predictions)
    model = replace(model, card=card)
    checks = audit_shortcuts(model, data, predictions, segmenter or find_segmenter())
    detector, performance = fit_detector(model, data)
    card = replace(card, shortcuts=checks, gate=performance)
    store.save_model(root, card, weights, predictions, detector)
    return store.read_card(root / model_id)


def _with_evaluation(card: ModelCard, predictions: Predictions) -> ModelCard:
    """Add the temperature and thresholds, selected on val, and the metrics on test to a card."""
    val = predictions.take("val")
    temperature = fit_temperature(val.y_true, val.y_score)
    points = operating_points(
        val.y_true, apply_temperature(val.y_score, temperature), val.class_names
    )
    card = replace(card, temperature=temperature, operating_points=points)
    return replace(
        card,
        metrics=split_metrics(card, predictions),
        prediction_sets=evaluate_sets(predictions, temperature),
    )
