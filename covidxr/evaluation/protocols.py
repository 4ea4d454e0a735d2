"""What a division at random flatters: the same recipe under both protocols, measured once and stored."""

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
    """Accuracy on n test pictures, with its 95 % interval."""

    accuracy: Interval
    n: int


@dataclass(frozen=True, slots=True)
class ProtocolEffect:
    """One recipe, trained and judged under both protocols; `leaked` and `clean` are the two parts of the random test split."""

    recipe: str
    dataset: str
    grouped: Accuracy
    stratified: Accuracy
    leaked: Accuracy
    """On test pictures whose twin or patient was trained on."""
    clean: Accuracy
    """On the others."""

    @property
    def sentence(self) -> str:
        """What was measured, in words."""
        return (
            f"Measured with {self.recipe} on {self.dataset}: divided at random it scores {percent(self.stratified.accuracy)}, with "
            f"patients and near-duplicates together {percent(self.grouped.accuracy)}. Of the random test pictures, it gets "
            f"{percent(self.leaked.accuracy)} right where a twin or the same patient was trained on, "
            f"{percent(self.clean.accuracy)} where none was. The two test splits are not the same pictures, and each figure is one "
            "training: part of the difference is chance."
        )


def protocol_effect() -> ProtocolEffect | None:
    """Return what was measured, or None where it was not."""
    try:
        return from_json(ProtocolEffect, (weights_folder() / FILE).read_text("utf-8"), FILE)
    except (OSError, UnicodeDecodeError, ConfigError):
        return None


def measure_protocols(dataset: Dataset, grouped_id: str, stratified_id: str) -> ProtocolEffect:
    """Work out the effect from two stored models of one recipe. Raises ConfigError where their recipes or protocols do not fit."""
    (grouped_card, grouped), (card, random) = (
        _stored(model_id) for model_id in (grouped_id, stratified_id)
    )
    protocols = (grouped_card.split.protocol, card.split.protocol)
    if protocols != ("grouped", "stratified") or grouped_card.recipe != card.recipe:
        raise ConfigError(
            f"expected one recipe under grouped and stratified, got {protocols} of {card.recipe.name}"
        )
    split = split_data(
        dataset, SplitPlan("stratified", card.split.seed, card.split.fractions)
    ).split
    if split.fingerprint != card.split_fingerprint:
        raise ConfigError(f"{dataset.path} is not the dataset that {stratified_id} was judged on")
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
            "there is no test picture with, or none without, a twin in training: nothing to set against each other"
        )
    return Accuracy(accuracy, len(part))
