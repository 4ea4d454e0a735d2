"""The shortcut audit of a model: whether the source of images could explain its performance."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from covidxr.cards import ModelCard, ShortcutCheck
from covidxr.datasets.duplicates import THUMBNAIL
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import SplitData
from covidxr.lungs.inputs import input_pixels, lung_masks
from covidxr.lungs.masks import resize_mask
from covidxr.metrics import shortcuts
from covidxr.metrics.conformal import evaluate_sets
from covidxr.metrics.shortcuts import lungs_check, source_probe
from covidxr.models.classifier import Classifier, Segmenter
from covidxr.ood.fitting import fit_detector
from covidxr.records import Labels, Predictions, Scores


def audit_model(
    model: Classifier,
    data: SplitData,
    predictions: Predictions,
    segmenter: Segmenter | None,
) -> tuple[ModelCard, bytes]:
    """Repeat a stored model's shortcut audit, prediction sets and OOD detector.

    Args:
        model: The classifier.
        data: Its dataset, split as for its training.
        predictions: Its stored ones, on val and test.
        segmenter: For the checks on lungs; None skips them.

    Returns:
        The new card, and the content of the OOD detector's file.
    """
    content, performance = fit_detector(model, data)
    card = replace(
        model.card,
        shortcuts=audit_shortcuts(model, data, predictions, segmenter),
        prediction_sets=evaluate_sets(predictions, model.card.temperature),
        gate=performance,
    )
    return card, content


def audit_shortcuts(
    model: Classifier,
    data: SplitData,
    predictions: Predictions,
    segmenter: Segmenter | None,
) -> tuple[ShortcutCheck, ...]:
    """Check whether the origin of images, rather than their content, could explain performance.

    The checks are baselines on image borders and intensities, contrasts within one source, the
    source decoded from the network's features, and images with only, or without, the lungs.

    Args:
        model: The classifier.
        data: Its dataset, split as for its training.
        predictions: Of the model on val and test.
        segmenter: For the checks on lungs; None skips them.
    """
    split, card = data.split, model.card
    small = decode(data.dataset, THUMBNAIL, skip_unreadable=True)
    thumbnails = small.array[small.rows(split.files)]
    train, test = split.rows("train"), split.rows("test")
    known = (split.labels, train, test, card.class_names, split.bound_groups)
    border = shortcuts.baseline_check("border", shortcuts.border_features(thumbnails), *known)
    intensity = shortcuts.baseline_check(
        "intensity", shortcuts.intensity_features(thumbnails), *known
    )
    within = shortcuts.within_source_checks(predictions)
    probes = _probe_sources(model, data, predictions)
    return (border, intensity, *within, *probes, *_lung_checks(model, data, predictions, segmenter))


def _lung_checks(
    model: Classifier,
    data: SplitData,
    predictions: Predictions,
    segmenter: Segmenter | None,
) -> tuple[ShortcutCheck, ...]:
    """Evaluate the model on test images with the lungs blackened, and with only the lungs."""
    card = model.card
    # The input of such a model is the lungs alone.
    if card.preprocessing.segmenter_sha256:
        return ()
    part = predictions.take("test")
    if segmenter is None:
        why = "no lung segmenter is stored"
        return (ShortcutCheck("lungs-blackened", "any class", 0, {}, why),)
    size = card.preprocessing.image_size
    decoded = decode(data.dataset, size, skip_unreadable=True)
    masks = lung_masks(data.dataset, part.samples, segmenter)
    found = np.asarray(masks.any(axis=(1, 2)))
    part, masks = part.where(found), masks[found]
    pixels = decoded.array[decoded.rows(part.samples)]
    inside = np.stack([resize_mask(mask, size) for mask in masks])

    def check(
        kind: Literal["lungs-blackened", "lungs-only"], kept: npt.NDArray[np.bool_]
    ) -> ShortcutCheck:
        masked = np.where(kept, pixels, np.uint8(0))
        scores = model.scores(masked, temperature=1.0, progress=kind)
        return lungs_check(
            kind, replace(part, y_score=scores), inside.mean(axis=(1, 2)), int((~found).sum())
        )

    return check("lungs-blackened", ~inside), check("lungs-only", inside)


def _probe_sources(
    model: Classifier, data: SplitData, predictions: Predictions
) -> tuple[ShortcutCheck, ...]:
    """Decode the source from penultimate features, within each class of several sources.

    The probe is trained on val, on which the network was not trained, and evaluated on test.
    """
    card = model.card
    several = [name for name, tally in data.dataset.sources().items() if len(tally) > 1]
    if predictions.sources is None or not several:
        why = "no class has more than one source"
        if predictions.sources is None:
            why = "the dataset has no source information"
        return (ShortcutCheck("source-from-features", "any class", 0, {}, why),)
    pixels = input_pixels(card.preprocessing, model.segmenter, data.dataset, skip_unreadable=True)

    def part(name: str, split: str) -> tuple[Scores, tuple[str, ...], Labels | None]:
        own = predictions.take(split)
        own = own.where(own.y_true == card.class_names.index(name))
        features = model.features(pixels.array, pixels.rows(own.samples))
        return features, own.sources or (), own.groups

    checks = []
    for name in several:
        features_fit, sources_fit, _ = part(name, "val")
        features_test, sources_test, groups = part(name, "test")
        checks.append(
            source_probe(features_fit, sources_fit, features_test, sources_test, name, groups)
        )
    return tuple(checks)
