"""External evaluations: a model on a dataset that it was not trained on, stored with the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import covidxr
from covidxr.cards import ModelCard
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import Split, SplitData, group_samples
from covidxr.errors import ConfigError, DatasetError, ModelError
from covidxr.evaluation.predictions import predict_splits
from covidxr.evaluation.results import evaluation_json, split_metrics
from covidxr.models.classifier import Classifier
from covidxr.models.store import is_plain_name, read_card, read_table, to_table
from covidxr.records import Interval, Predictions, SplitPlan
from covidxr.storage import from_json, to_json, write_text


@dataclass(frozen=True, slots=True)
class ExternalEvaluation:
    """An external evaluation, stored in the model's folder: external/<name>.json and <name>.csv."""

    name: str
    dataset_name: str
    dataset_fingerprint: str
    class_counts: dict[str, int]
    """Evaluated images by class; 0 for a class that is not in the dataset."""
    labels: dict[str, str]
    """Class of each label of the dataset; empty for the layout of the original database."""
    left_out: int
    """Images not evaluated: unmapped label, split other than test, or unreadable."""
    metrics: dict[str, Interval]
    """Metrics over all classes, as in a model's card."""
    created: str
    covidxr_version: str


def external_file(folder: Path, name: str) -> Path:
    """Return the JSON file of an external evaluation in a model's folder.

    Raises:
        ModelError: For a name that is not a plain file name.
    """
    if not is_plain_name(name):
        raise ModelError(
            f"an external evaluation cannot be named {name!r}; use letters, digits, dots, - and _"
        )
    return folder / "external" / f"{name}.json"


def list_external(folder: Path) -> tuple[str, ...]:
    """Return the names of the external evaluations in a model's folder, sorted."""
    names = (path.stem for path in (folder / "external").glob("*.json"))
    return tuple(sorted(name for name in names if is_plain_name(name)))


def save_external(folder: Path, test: ExternalEvaluation, predictions: Predictions) -> None:
    """Store an external evaluation, in place of one of the same name."""
    description = external_file(folder, test.name)
    write_text(_table(description), to_table(predictions))
    # Last: without its description an evaluation does not exist.
    write_text(description, to_json(test))


def read_external(folder: Path, name: str) -> tuple[ExternalEvaluation, Predictions]:
    """Read an external evaluation from a model's folder.

    Raises:
        ModelError: For an evaluation that is missing, damaged, or whose two files do not match.
    """
    card, description = read_card(folder), external_file(folder, name)
    what = f"the external evaluation {name} of {folder.name}"
    try:
        test = from_json(ExternalEvaluation, description.read_text("utf-8"), what)
    except FileNotFoundError:
        known = ", ".join(list_external(folder)) or "none"
        raise ModelError(
            f"{folder.name} has no external evaluation {name} (it has: {known}); create it with "
            f"`covidxr evaluate {folder.name} --external DATA --name {name}`"
        ) from None
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ModelError(
            f"{what} cannot be read: {error}; evaluate the model on the dataset again"
        ) from error
    predictions = read_table(_table(description), card.class_names, f"the predictions of {what}")
    counts = {
        class_name: int((predictions.y_true == k).sum())
        for k, class_name in enumerate(card.class_names)
    }
    if test.name != name or test.class_counts != counts or set(predictions.splits) != {"test"}:
        raise ModelError(
            f"{what} does not match its predictions; evaluate the model on the dataset again"
        )
    return test, predictions


def _table(description: Path) -> Path:
    return description.with_name(f"{description.name.removesuffix('.json')}.csv")


def evaluate_external(
    model: Classifier,
    dataset: Dataset,
    folder: Path,
    name: str | None = None,
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on another dataset and store its predictions with the model.

    Args:
        model: The classifier.
        dataset: Another dataset than the model's own. Where its table names splits, those of the
            test split are evaluated, else all images.
        folder: The model's folder, in which the evaluation is stored.
        name: Of the evaluation, replacing an earlier one; None for the name of the dataset.
        prevalence: By class, in (0, 1), for PPV and NPV at that prevalence.

    Returns:
        The metrics as one JSON object, with the name of the evaluation.

    Raises:
        DatasetError: For the dataset that the model was trained on, or without usable images.
    """
    card = model.card
    name = name or re.sub(r"[^\w.-]+", "-", dataset.name).lstrip(".") or "external"
    # Rejects a wrong name before minutes are spent on the images.
    external_file(folder, name)
    if dataset.fingerprint == card.dataset_fingerprint:
        raise DatasetError(
            f"{dataset.path} is the dataset that {card.model_id} was trained on; an external "
            "evaluation needs another one. For the model's own test split: `covidxr evaluate "
            f"{card.model_id}`"
        )
    if dataset.class_names != card.class_names:
        raise ModelError(
            f"{card.model_id} has the classes {', '.join(card.class_names)}, the dataset has "
            f"{', '.join(dataset.class_names)}; they must be the same"
        )
    predictions = predict_splits(model, _external_split(dataset), ("test",))
    total = len(dataset.samples) + dataset.left_out
    test = ExternalEvaluation(
        name=name,
        dataset_name="synthetic phantoms, not radiographs" if dataset.synthetic else dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        class_counts={
            class_name: int((predictions.y_true == k).sum())
            for k, class_name in enumerate(card.class_names)
        },
        labels=dataset.labels,
        left_out=total - len(predictions),
        metrics=split_metrics(card, predictions),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        covidxr_version=covidxr.__version__,
    )
    save_external(folder, test, predictions)
    result = evaluation_json(_card_of(card, test, predictions), predictions, prevalence=prevalence)
    return {**result, "external": name, "left_out": test.left_out}


def stored_external(folder: Path, name: str) -> tuple[ModelCard, Predictions]:
    """Read an external evaluation as a card and predictions.

    The card has the metrics, counts and sources of the external dataset, and the model's own
    temperature and operating points. Its shortcut audit is empty, since that is of the model's own
    test split.

    Raises:
        ModelError: For an evaluation that is missing or damaged.
    """
    test, predictions = read_external(folder, name)
    return _card_of(read_card(folder), test, predictions), predictions


def _external_split(dataset: Dataset) -> SplitData:
    """Put the images to evaluate into test: the predefined test split, else all readable images."""
    thumbnails = decode(dataset, THUMBNAIL, skip_unreadable=True)
    dataset = dataset.without(thumbnails.skipped)
    predefined = any(sample.split for sample in dataset.samples)
    names = np.array(
        ["train" if predefined and s.split != "test" else "test" for s in dataset.samples],
        dtype="<U5",
    )
    if not (names == "test").any():
        why = "its test split is empty" if predefined else "none of its images can be read"
        raise DatasetError(
            f"{dataset.path} has no images to evaluate: {why}; correct the dataset or its CSV file"
        )
    labels = np.array([sample.label for sample in dataset.samples], dtype=np.int64)
    groups = group_samples(dataset.samples, find_near_duplicates(dataset, thumbnails))
    files = tuple(sample.file for sample in dataset.samples)
    # Grouped: only one split is evaluated, so no group is separated.
    return SplitData(dataset, Split(SplitPlan("grouped"), files, labels, names, groups))


def _card_of(card: ModelCard, test: ExternalEvaluation, predictions: Predictions) -> ModelCard:
    """Return a model's card as if it were of an external dataset."""
    sources: dict[str, dict[str, int]] = {class_name: {} for class_name in card.class_names}
    named = predictions.sources or ["unknown"] * len(predictions)
    for label, source in zip(predictions.y_true.tolist(), named, strict=True):
        own = sources[card.class_names[label]]
        own[source] = own.get(source, 0) + 1
    return replace(
        card,
        dataset_name=test.dataset_name,
        dataset_fingerprint=test.dataset_fingerprint,
        class_counts={"test": test.class_counts},
        sources=sources,
        metrics=test.metrics,
        shortcuts=(),
        prediction_sets=None,
        gate=None,
        external=test.name,
    )
