"""Draft of a model card, and its shortcut audit in sentences."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version

import covidxr
from covidxr.cards import CARD_SCHEMA_VERSION, ModelCard, ShortcutCheck
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import Split
from covidxr.formatting import decimal, percent, whole_percent
from covidxr.records import CLASS_NAMES, RESEARCH_ONLY, Preprocessing, Recipe, display_name


def draft_card(
    model_id: str,
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    origin: str,
    best_epoch: int,
    seconds: float,
) -> ModelCard:
    """Return the card of a trained model, without its performance.

    Args:
        model_id: Of the model.
        recipe: It was trained by.
        dataset: It was trained on.
        split: Of the dataset.
        origin: Of the initial weights, in words.
        best_epoch: Whose weights are the model.
        seconds: Training time.
    """
    return ModelCard(
        schema_version=CARD_SCHEMA_VERSION,
        model_id=model_id,
        architecture=recipe.architecture,
        init=origin,
        class_names=dataset.class_names,
        preprocessing=Preprocessing(image_size=recipe.image_size),
        recipe=recipe,
        split=split.plan,
        split_fingerprint=split.fingerprint,
        dataset_fingerprint=dataset.fingerprint,
        dataset_name="synthetic phantoms, not radiographs" if dataset.synthetic else dataset.name,
        synthetic=dataset.synthetic,
        class_counts=split.counts(dataset.class_names),
        sources=dataset.sources(),
        best_epoch=best_epoch,
        temperature=1.0,
        metrics={},
        operating_points={},
        training_seconds=round(seconds, 1),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        covidxr_version=covidxr.__version__,
        torch_version=version("torch"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        intended_use="Research and education on chest radiographs like the training data. "
        f"{RESEARCH_ONLY}",
        limits=_limits(dataset),
    )


def _limits(dataset: Dataset) -> tuple[str, ...]:
    """Limitations of any model that is trained on a dataset."""
    sources = dataset.sources()
    limits = ["No external validation."]
    if dataset.synthetic:
        limits.append("Trained on synthetic phantoms: not applicable to patients.")
    for name, own in sources.items():
        others = {source for other, tally in sources.items() if other != name for source in tally}
        if set(own) != {"unknown"} and not set(own) & others:
            limits.append(
                f"{display_name(name)} shares no source with the other classes: the model may have "
                "learned the source instead of the disease."
            )
    return tuple(limits)


def shortcut_sentences(card: ModelCard) -> tuple[str, ...]:
    """Return the results of the shortcut audit, a sentence or two per check."""
    return tuple(_shortcut_sentence(check, card) for check in card.shortcuts)


def _shortcut_sentence(check: ShortcutCheck, card: ModelCard) -> str:
    metrics, subject = check.figures, _displayed(check.subject)
    if not metrics:
        return f"{subject}: not measured ({check.reason})."
    aside = f" ({check.reason})" if check.reason else ""
    if check.kind in ("lungs-blackened", "lungs-only"):
        return _lungs_sentence(check, card, aside)
    if check.kind == "within-source":
        source, _, pair = subject.partition(": ")
        return f"Within-source AUROC, {source}, {pair}: {decimal(metrics['auroc'])}{aside}."
    if check.kind == "source-from-features":
        return (
            f"AUROC of the source from the model's features, {subject}: "
            f"{decimal(metrics['auroc'])}, chance level 0.5{aside}. Sources differ in patients as "
            "well as equipment; a high value does not prove that the model uses the source."
        )
    borders = "image borders only (6% of the width on each side)"
    features = borders if check.kind == "border" else "13 intensity statistics only"
    covid = f", COVID-19 AUROC {decimal(metrics['COVID'])}" if "COVID" in metrics else ""
    region = "lungs only" if card.preprocessing.segmenter_sha256 else "full image"
    return (
        f"Baseline on {features}: accuracy {percent(metrics['accuracy'])}{covid}. "
        f"This model ({region}): accuracy {percent(card.metrics['accuracy'])}."
    )


def _lungs_sentence(check: ShortcutCheck, card: ModelCard, aside: str) -> str:
    accuracy = percent(check.figures["accuracy"])
    if check.kind == "lungs-only":
        return (
            f"Accuracy on the lungs only: {accuracy}; on the full image: "
            f"{percent(card.metrics['accuracy'])}. Mean lung area: "
            f"{percent(check.figures['lung_area'])}. A lower accuracy reflects missing context, "
            f"but also masked images being out of distribution{aside}."
        )
    counts = card.class_counts["test"]
    largest = max(counts, key=lambda name: counts[name])
    chance = counts[largest] / sum(counts.values())
    meaning = (
        "blackened images are out of distribution, so signal outside the lungs is not ruled out"
    )
    if check.figures["accuracy"].low > chance:
        meaning = "the remaining signal is from outside the lungs or their outline"
    return (
        f"Accuracy with the lungs blackened: {accuracy}; always predicting "
        f"{display_name(largest)}: {whole_percent(chance)}. Interpretation: {meaning}{aside}."
    )


def _displayed(subject: str) -> str:
    """A subject with its classes as people write them."""
    for name in CLASS_NAMES:
        subject = re.sub(rf"(?<![\w-]){name}(?![\w-])", display_name(name), subject)
    return subject
