"""The effect of the split protocol on accuracy: one recipe under both protocols, as stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from covidxr.cards import ModelCard
from covidxr.config import weights_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import leaked_samples, split_data
from covidxr.errors import ConfigError
from covidxr.formatting import percent
from covidxr.metrics.intervals import proportion_interval
from covidxr.models import store
from covidxr.records import Interval, Predictions, SplitPlan
from covidxr.storage import from_json

FILE = "protocols.json"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy on n test images, with its 95% CI."""

    accuracy: Interval
    n: int


@dataclass(frozen=True, slots=True)
class ProtocolEffect:
    """Test accuracy of one recipe under both protocols.

    The random test split consists of `leaked` and `clean` images.
    """

    recipe: str
    dataset: str
    grouped: Accuracy
    stratified: Accuracy
    leaked: Accuracy
    """On test images with a near-duplicate, or the same patient, in training."""
    clean: Accuracy
    """On the other test images."""

    @property
    def sentence(self) -> str:
        """The result in words."""
        random, grouped, leaked, clean = (
            percent(part.accuracy, part.n)
            for part in (self.stratified, self.grouped, self.leaked, self.clean)
        )
        return (
            f"Test accuracy of {self.recipe} on {self.dataset}: {random} with a random split, "
            f"{grouped} with a grouped split. Within the random test split: {leaked} for images "
            "with a near-duplicate or the same patient in training (leakage), "
            f"{clean} for the others. Each split was trained once and the test sets differ: part "
            "of the difference may be chance."
        )


def protocol_effect() -> ProtocolEffect | None:
    """Read the stored effect; None if it was not measured."""
    try:
        return from_json(ProtocolEffect, (weights_folder() / FILE).read_text("utf-8"), FILE)
    except (OSError, UnicodeDecodeError, ConfigError):
        return None


def measure_protocols(dataset: Dataset, grouped_id: str, stratified_id: str) -> ProtocolEffect:
    """Measure the effect with two stored models of one recipe.

    Args:
        dataset: On which both were trained.
        grouped_id: Model of the grouped protocol.
        stratified_id: Model of the stratified protocol.

    Raises:
        ConfigError: For models of different recipes, of other protocols, or of another dataset.
    """
    (grouped_card, grouped), (card, random) = (
        _stored(model_id) for model_id in (grouped_id, stratified_id)
    )
    protocols = (grouped_card.split.protocol, card.split.protocol)
    if protocols != ("grouped", "stratified") or grouped_card.recipe != card.recipe:
        raise ConfigError(
            f"expected one recipe with the protocols grouped and stratified, got {protocols[0]} of "
            f"{grouped_card.recipe.name} and {protocols[1]} of {card.recipe.name}"
        )
    split = split_data(
        dataset, SplitPlan("stratified", card.split.seed, card.split.fractions)
    ).split
    if split.fingerprint != card.split_fingerprint:
        raise ConfigError(
            f"{dataset.path} is not the dataset of {stratified_id}: its split differs"
        )
    leaks = dict(zip(split.files, leaked_samples(split).tolist(), strict=True))
    leaked = np.array([leaks[sample] for sample in random.samples], dtype=bool)
    parts = (grouped, random, random.where(leaked), random.where(~leaked))
    return ProtocolEffect(card.recipe.name, card.dataset_name, *(_accuracy(part) for part in parts))


def _stored(model_id: str) -> tuple[ModelCard, Predictions]:
    folder = store.model_folder(weights_folder(), model_id)
    return store.read_card(folder), store.read_predictions(folder).take("test")


def _accuracy(part: Predictions) -> Accuracy:
    accuracy = proportion_interval(part.y_true == part.y_pred, part.groups)
    if accuracy is None:
        raise ConfigError(
            "all test images have a near-duplicate or the same patient in training, or none has: "
            "there is nothing to compare"
        )
    return Accuracy(accuracy, len(part))
