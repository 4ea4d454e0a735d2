"""The effect of the split protocol."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from covidxr.config import weights_folder
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data
from covidxr.errors import ConfigError
from covidxr.evaluation.protocols import FILE, measure_protocols, protocol_effect
from covidxr.models import store
from covidxr.records import SplitPlan
from covidxr.storage import to_json, write_text


@pytest.fixture(autouse=True)
def _two_models(
    phantom_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phantom model, and its copy `random`."""
    root = shutil.copytree(phantom_model_folder, tmp_path / "weights")
    shutil.copytree(root / "phantom-cnn", root / "random")
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(root))
    change_card('"model_id": "phantom-cnn"', '"model_id": "random"')


def change_card(old: str, new: str) -> None:
    """Replace text in the card of the copy."""
    file = weights_folder() / "random" / "card.json"
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")


def make_stratified(fingerprint: str) -> None:
    """Let the card of the copy name the stratified protocol."""
    change_card(store.read_card(weights_folder() / "random").split_fingerprint, fingerprint)
    change_card('"protocol": "grouped"', '"protocol": "stratified"')


def test_leaked_and_other_images_are_the_parts_of_the_random_test_split(
    phantoms: Path,
) -> None:
    dataset = open_dataset(phantoms)
    split = split_data(dataset, SplitPlan("stratified")).split
    make_stratified(split.fingerprint)
    found = measure_protocols(dataset, "phantom-cnn", "random")
    part = store.read_predictions(weights_folder() / "random").take("test")
    groups, names = dict(zip(split.files, split.groups, strict=True)), split.names
    trained = set(split.groups[names == "train"])
    held_out = {file for file, name in zip(split.files, names, strict=True) if name != "train"}
    leaked = np.array([groups[s] in trained and s in held_out for s in part.samples])
    correct = part.y_true == part.y_pred
    assert (found.leaked.n, found.clean.n) == (leaked.sum(), (~leaked).sum())
    assert found.stratified.n == len(part) == 24
    assert found.leaked.accuracy.estimate == pytest.approx(correct[leaked].mean())
    assert found.clean.accuracy.estimate == pytest.approx(correct[~leaked].mean())
    assert found.stratified.accuracy.estimate == pytest.approx(correct.mean())

    assert protocol_effect() is None
    write_text(weights_folder() / FILE, to_json(found))
    assert protocol_effect() == found
    assert "n = 24 with a random split" in found.sentence


def test_other_models_and_datasets_are_rejected(phantoms: Path) -> None:
    dataset = open_dataset(phantoms)
    with pytest.raises(ConfigError, match="expected one recipe with the protocols grouped and"):
        measure_protocols(dataset, "phantom-cnn", "random")
    make_stratified("0" * 16)
    with pytest.raises(ConfigError, match="is not the dataset of random: its split differs"):
        measure_protocols(dataset, "phantom-cnn", "random")
