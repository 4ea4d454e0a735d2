"""The card of a model: what must be known of it before it may be used."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import covidxr
from covidxr.cards import CARD_SCHEMA_VERSION, ModelCard, ShortcutCheck
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import Split
from covidxr.formatting import percent, whole_percent
from covidxr.records import RESEARCH_ONLY, Preprocessing, Recipe, display_name


def draft_card(
    model_id: str,
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    origin: str,
    best_epoch: int,
    seconds: float,
) -> ModelCard:
    """Return a card that says all but how well the model does.

    origin: where the initial weights came from, in words.  seconds: time spent training.
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
        intended_use=f"Teaching and research on chest radiographs like those it was trained on. {RESEARCH_ONLY}",
        limits=_limits(dataset),
    )


def _limits(dataset: Dataset) -> tuple[str, ...]:
    """Say what the data alone forbids to conclude from any model trained on it."""
    sources = dataset.sources()
    limits = ["Judged on one dataset only; no other hospital has tested it."]
    if dataset.synthetic:
        limits.append("Trained on synthetic phantoms: it knows nothing of real patients.")
    for name, own in sources.items():
        others = {source for other, tally in sources.items() if other != name for source in tally}
        if set(own) != {"unknown"} and not set(own) & others:
            limits.append(
                f"{name} shares no source with the other classes: the model may know where a picture is from, not the disease."
            )
    return tuple(limits)


def shortcut_sentences(card: ModelCard) -> tuple[str, ...]:
    """Say in plain words, a sentence for each check, whether where a picture is from could carry the model's figures."""
    return tuple(_shortcut_sentence(check, card) for check in card.shortcuts)


def _shortcut_sentence(check: ShortcutCheck, card: ModelCard) -> str:
    accuracy = card.metrics["accuracy"]
    figures, subject = (
        check.figures,
        check.subject.replace("Lung_Opacity", display_name("Lung_Opacity")),
    )
    if not figures:
        return f"{subject}: not measured, since {check.reason}."
    aside = f" ({check.reason})" if check.reason else ""
    if check.kind in ("border", "intensity"):
        frame, tone = (
            "only its frame, 6 % of the width on each side",
            "only 13 statistics of its brightness, and no shape",
        )
        sees = frame if check.kind == "border" else tone
        covid = (
            f" and tells COVID from the rest with an AUROC of {percent(figures['COVID'])}"
            if "COVID" in figures
            else ""
        )
        return (
            f"A small model that sees of a picture {sees}, calls {percent(figures['accuracy'])} of the test pictures right{covid}; "
            f"this model, which sees {'the lungs alone' if card.preprocessing.segmenter_sha256 else 'all of it'}, calls "
            f"{percent(accuracy)} right."
        )
    if check.kind in ("lungs-blackened", "lungs-only"):
        return _lungs_sentence(check, card)
    auroc = percent(figures["auroc"])
    if check.kind == "within-source":
        source, _, pair = subject.partition(": ")
        return f"Within the source {source}, where knowing it is no help, this model tells {pair} with an AUROC of {auroc}{aside}."
    return (
        f"This model's inner features tell the source with an AUROC of {auroc}, where chance is 50 %: {subject}{aside}. "
        "Sources differ in their patients as well as their equipment: that the source can be read does not say that it is used."
    )


def _lungs_sentence(check: ShortcutCheck, card: ModelCard) -> str:
    right, whole = percent(check.figures["accuracy"]), percent(card.metrics["accuracy"])
    aside = f" ({check.reason})" if check.reason else ""
    counts = card.class_counts["test"]
    largest = max(counts, key=lambda name: counts[name])
    if check.kind == "lungs-blackened":
        always = counts[largest] / sum(counts.values())
        above = check.figures["accuracy"].low > always
        meaning = (
            "the rest it reads beside the lungs, or off their outline"
            if above
            else "beside the lungs alone it finds no hold"
        )
        return (
            f"With the lungs blackened it {'still' if above else 'only'} calls {right} right, where always saying "
            f"{display_name(largest)} would be right for {whole_percent(always)}: {meaning}{aside}."
        )
    return (
        f"With only the lungs left, {percent(check.figures['lung_area'])} of a picture, it calls {right} right, and {whole} with "
        f"all of it: so much hangs on what is beside them, and on a blackness that it was not trained on{aside}."
    )
