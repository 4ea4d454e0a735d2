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
class ExternalTest:
    """What was judged, and what came out; stored as external/<name>.json in the model's folder, beside <name>.csv."""

    name: str
    dataset_name: str
    dataset_fingerprint: str
    class_counts: dict[str, int]
    """Pictures that were judged, by class; 0 for a class that the dataset does not have."""
    labels: dict[str, str]
    """What each of the dataset's own labels was taken for; empty for the database's own layout."""
    left_out: int
    """Pictures of the dataset that were not judged: of an unmapped label, of another split than test, or unreadable."""
    metrics: dict[str, Interval]
    """Figures over all classes, as in a model's card, with 95 % intervals."""
    created: str
    covidxr_version: str


def external_file(folder: Path, name: str) -> Path:
    """Return where an external test of the model in `folder` is described. Raises ModelError for a name that is not a plain one."""
    if not is_plain_name(name):
        raise ModelError(
            f"{name!r} is no name for an external test: letters, digits, dots, - and _ make one"
        )
    return folder / "external" / f"{name}.json"


def list_external(folder: Path) -> tuple[str, ...]:
    """Return the names of a model's external tests, sorted."""
    return tuple(
        sorted(
            path.stem for path in (folder / "external").glob("*.json") if is_plain_name(path.stem)
        )
    )


def save_external(folder: Path, test: ExternalTest, predictions: Predictions) -> None:
    """Store an external test, in place of one of the same name. The description comes last: without it there is no test."""
    description = external_file(folder, test.name)
    write_text(_table(description), to_table(predictions))
    write_text(description, to_json(test))


def read_external(folder: Path, name: str) -> tuple[ExternalTest, Predictions]:
    """Read an external test of the model in `folder`. Raises ModelError when it is missing, damaged or half of another one."""
    card, description = read_card(folder), external_file(folder, name)
    what = f"the external test {name} of {folder.name}"
    try:
        test = from_json(ExternalTest, description.read_text("utf-8"), what)
    except FileNotFoundError:
        known = ", ".join(list_external(folder)) or "none"
        raise ModelError(
            f"{folder.name} has no external test {name}, it has {known}; make it with `covidxr evaluate {folder.name} --external "
            f"DATA --name {name}`"
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
            f"{what} is not what its predictions say; evaluate the model on the dataset again"
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
        name: Of the evaluation, in place of an earlier one of that name; else the dataset's name.
        prevalence: As in `evaluate`.

    Returns:
        The metrics as one JSON object, with the name of the evaluation.

    Raises:
        DatasetError: For the dataset that the model was trained on, or without usable images.
    """
    card = model.card
    name = name or re.sub(r"[^\w.-]+", "-", dataset.name).lstrip(".") or "external"
    external_file(folder, name)  # rejects a wrong name before minutes are spent on the images
    if dataset.fingerprint == card.dataset_fingerprint:
        raise DatasetError(
            f"{dataset.path} is the dataset that {card.model_id} was trained on, and an external "
            "evaluation needs another one; its own test split is evaluated by `covidxr evaluate "
            f"{card.model_id}`"
        )
    if dataset.class_names != card.class_names:
        raise ModelError(
            f"{card.model_id} knows {', '.join(card.class_names)}, the dataset {', '.join(dataset.class_names)}"
        )
    predictions = predict_splits(model, _external_split(dataset), ("test",))
    whole = len(dataset.samples) + dataset.left_out
    test = ExternalTest(
        name=name,
        dataset_name="synthetic phantoms, not radiographs" if dataset.synthetic else dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        class_counts={
            class_name: int((predictions.y_true == k).sum())
            for k, class_name in enumerate(card.class_names)
        },
        labels=dataset.labels,
        left_out=whole - len(predictions),
        metrics=split_metrics(card, predictions),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        covidxr_version=covidxr.__version__,
    )
    save_external(folder, test, predictions)
    result = evaluation_json(_card_of(card, test, predictions), predictions, prevalence=prevalence)
    return {**result, "external": name, "left_out": test.left_out}


def stored_external(folder: Path, name: str) -> tuple[ModelCard, Predictions]:
    """Read an external evaluation: the model's card as if it were of that dataset, and predictions.

    The card's metrics, counts and sources are those of the external dataset; temperature and
    operating points are the model's own. The shortcut audit is empty: it was made on the model's
    own test split.

    Raises:
        ModelError: When it is missing or damaged.
    """
    test, predictions = read_external(folder, name)
    return _card_of(read_card(folder), test, predictions), predictions


def _external_split(dataset: Dataset) -> SplitData:
    """Put all that is judged into test: the table's own test where it names splits, else all that can be read."""
    thumbnails = decode(dataset, THUMBNAIL, skip_unreadable=True)
    dataset = dataset.without(thumbnails.skipped)
    named = any(sample.split for sample in dataset.samples)
    names = np.array(
        ["test" if sample.split == "test" or not named else "train" for sample in dataset.samples],
        dtype="<U5",
    )
    if not (names == "test").any():
        why = (
            "none of its pictures is of the split test"
            if named
            else "none of its pictures can be read"
        )
        raise DatasetError(
            f"there is nothing in {dataset.path} to judge a model on: {why}; mend the dataset or its table"
        )
    labels = np.array([sample.label for sample in dataset.samples], dtype=np.int64)
    groups = group_samples(dataset.samples, find_near_duplicates(dataset, thumbnails))
    # All that is judged stands on one side, so patients and twins are kept together whatever the dataset does elsewhere.
    return SplitData(
        dataset,
        Split(SplitPlan("grouped"), tuple(s.file for s in dataset.samples), labels, names, groups),
    )


def _card_of(card: ModelCard, test: ExternalTest, predictions: Predictions) -> ModelCard:
    sources: dict[str, dict[str, int]] = {class_name: {} for class_name in card.class_names}
    for label, source in zip(
        predictions.y_true.tolist(),
        predictions.sources or ["unknown"] * len(predictions),
        strict=True,
    ):
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
