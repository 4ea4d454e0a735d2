"""Models on datasets that they were neither trained nor judged on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import covidxr
from covidxr.cards import ModelCard
from covidxr.config import weights_folder
from covidxr.datasets.dataset import Dataset, open_dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_twins
from covidxr.datasets.pixels import decode
from covidxr.datasets.split_data import SplitData
from covidxr.datasets.splits import Split, group_samples
from covidxr.errors import DatasetError, ModelError
from covidxr.evaluation import external_store
from covidxr.evaluation.stored import evaluation_json, predict_splits, split_metrics
from covidxr.models import store
from covidxr.prediction.loading import load_model
from covidxr.records import Predictions, SplitPlan


def evaluate_external(
    model_id: str,
    data: Path | str,
    name: str | None = None,
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Judge a model on another dataset, store what it said, and return its figures as `evaluate_model` does, with their name.

    data: a database, or an import by its file or name. Where its table names splits, those of the split test are judged, else all.
    name: what to call the test, in place of an earlier one of that name; without it, the dataset's name.
    Raises DatasetError for the dataset that the model was trained on, and where there is nothing to judge.
    """
    model, dataset = load_model(model_id), open_dataset(data)
    card = model.card
    name = name or re.sub(r"[^\w.-]+", "-", dataset.name).lstrip(".") or "external"
    folder = store.model_folder(weights_folder(), model_id)
    external_store.external_file(
        folder, name
    )  # refuses a wrong name before minutes are spent on the pictures
    if dataset.fingerprint == card.dataset_fingerprint:
        raise DatasetError(
            f"{data} is the dataset that {model_id} was trained on, and an external test needs another one; its own test split is "
            f"judged by `covidxr evaluate {model_id}`"
        )
    if dataset.class_names != card.class_names:
        raise ModelError(
            f"{model_id} knows {', '.join(card.class_names)}, the dataset {', '.join(dataset.class_names)}"
        )
    predictions = predict_splits(
        model.network, card.preprocessing, _external_split(dataset), ("test",)
    )
    whole = len(dataset.samples) + dataset.left_out
    test = external_store.ExternalTest(
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
    external_store.save_external(folder, test, predictions)
    result = evaluation_json(_card_of(card, test, predictions), predictions, prevalence=prevalence)
    return {**result, "external": name, "left_out": test.left_out}


def stored_external(model_id: str, name: str) -> tuple[ModelCard, Predictions]:
    """Read an external test of a model: its card as if it were of that dataset, with `external` set, and what the model said.

    The card's metrics, counts and sources are those of the external set; temperature and operating points stay the model's, chosen
    on its own val. The shortcut audit is empty: it was made on the model's own test split. Raises ModelError.
    """
    folder = store.model_folder(weights_folder(), model_id)
    test, predictions = external_store.read_external(folder, name)
    return _card_of(store.read_card(folder), test, predictions), predictions


def external_tests(model_id: str) -> tuple[str, ...]:
    """Return the names of a model's external tests, sorted."""
    return external_store.list_external(store.model_folder(weights_folder(), model_id))


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
    groups = group_samples(dataset.samples, find_twins(dataset, thumbnails))
    # All that is judged stands on one side, so patients and twins are kept together whatever the dataset does elsewhere.
    return SplitData(
        dataset,
        Split(SplitPlan("grouped"), tuple(s.file for s in dataset.samples), labels, names, groups),
    )


def _card_of(
    card: ModelCard, test: external_store.ExternalTest, predictions: Predictions
) -> ModelCard:
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
