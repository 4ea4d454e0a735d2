"""Validation of heat maps, on phantoms."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from covidxr.cards import METHOD_TITLES, Localization, MapSettings
from covidxr.cli import app
from covidxr.config import weights_folder
from covidxr.datasets.boxes import BOXES_FILE
from covidxr.datasets.opening import open_dataset
from covidxr.errors import Cancelled, ConfigError, DatasetError
from covidxr.explanation import audit as room
from covidxr.explanation.localization import best_localization
from covidxr.explanation.settings import map_settings
from covidxr.images.radiograph import fit_to_square
from covidxr.models import store
from covidxr.models.classifier import Classifier, View
from covidxr.prediction.cases import explain, sample_phantom
from covidxr.prediction.loading import find_segmenter, load_classifier

pytestmark = pytest.mark.usefixtures("phantom_models")


@pytest.fixture
def weights(
    phantom_models: None,
    phantom_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A copy of the phantom model, whose card may be written."""
    shutil.copytree(phantom_model_folder, tmp_path / "weights")
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def boxed(phantoms: Path, weights: Path, tmp_path: Path) -> Path:
    """The phantoms, with a box on each image of the class that the model predicts best."""
    predictions = store.read_predictions(weights / "phantom-cnn")
    right = np.bincount(predictions.y_true[predictions.y_true == predictions.y_pred], minlength=4)
    name = predictions.class_names[int(right.argmax())]
    folder = tmp_path / "boxed"
    shutil.copytree(phantoms, folder)
    files = sorted((folder / name / "images").iterdir())
    rows = "".join(f"{name}/images/{file.name},0.1,0.5,0.8,0.5\n" for file in files)
    (folder / BOXES_FILE).write_text("file,x,y,width,height\n" + rows)
    return folder


def localization(
    data: Path, configurations: tuple[MapSettings, ...] | None = None
) -> tuple[Localization, ...]:
    predictions = store.read_predictions(weights_folder() / "phantom-cnn")
    model, dataset = load_classifier("phantom-cnn"), open_dataset(data)
    return room.measure_localization(model, dataset, predictions, find_segmenter(), configurations)


def test_localization_is_measured_on_held_out_correctly_classified_images(
    weights: Path, boxed: Path
) -> None:
    before = store.read_card(weights / "phantom-cnn")
    configurations = (
        MapSettings("gradcam", "relu2"),
        MapSettings("hirescam", "relu2"),
        MapSettings("hirescam", "relu2", smoothing=0.1),
    )
    card = replace(before, localisation=localization(boxed, configurations))
    baselines = {one.rival: one for one in card.localisation if one.rival}
    assert set(baselines) == {"constant", "noise", "centre"}
    assert [one.settings for one in card.localisation if one.settings] == list(configurations)
    predictions = store.read_predictions(weights / "phantom-cnn")
    target = card.class_names.index(card.localisation[0].target)
    right = (predictions.y_true == target) & (predictions.y_pred == target)
    for one in card.localisation:
        assert one.both.n == one.val.n + one.test.n == right.sum()
        assert one.both.gain.estimate == pytest.approx(
            one.both.hits.estimate - baselines["constant"].both.hits.estimate
        )
    # All boxes are equal, so their mean is inside each of them.
    assert (
        baselines["constant"].both.hits.estimate
        == baselines["constant"].both.inside.estimate
        == 1.0
    )
    assert baselines["noise"].both.inside.estimate == pytest.approx(0.4, abs=0.15)
    maps = {one.settings: one.both.inside.estimate for one in card.localisation if one.settings}
    # The cached raw attributions are not smoothed.
    assert len(set(maps.values())) == 3
    best = best_localization(card)
    assert best is not None
    assert map_settings(card) == best.settings


def test_costly_methods_use_fewer_images_paired_with_the_same_baseline(
    weights: Path, boxed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "COSTLY", 1)
    card = localization(boxed, (MapSettings("occlusion", window=0.4),))
    one = card[-1]
    assert (one.val.n, one.test.n, one.both.n) == (1, 1, 2)
    assert one.both.gain.estimate == pytest.approx(one.both.hits.estimate - 1.0)


def test_another_dataset_and_one_without_boxes(weights: Path, phantoms: Path, boxed: Path) -> None:
    assert localization(phantoms) == ()
    next((boxed / "COVID" / "images").iterdir()).unlink()
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        localization(boxed)


@pytest.mark.slow
def test_the_audit_fills_the_card_and_the_command_prints_it(
    weights: Path, boxed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "COSTLY", 2)
    monkeypatch.setattr(room, "SAMPLE", 8)
    monkeypatch.setattr(room, "PERTURBED", 2)
    monkeypatch.setattr(room, "PERTURBED_COSTLY", 1)
    configurations = tuple(
        map_settings(store.read_card(weights / "phantom-cnn"), method) for method in METHOD_TITLES
    )
    monkeypatch.setattr("covidxr.explanation.audit.candidates", lambda name: configurations)
    words = ["explain-audit", "phantom-cnn", "--data", str(boxed), "--json"]
    found = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert len(found["localisation"]) == 3 + len(METHOD_TITLES)
    assert [one["settings"]["method"] for one in found["faithfulness"]] == list(METHOD_TITLES)
    card = store.read_card(weights / "phantom-cnn")
    for one in card.faithfulness:
        assert one.n == (2 if one.settings.method not in ("gradcam", "hirescam") else 8)
        assert {
            len(c) for c in (one.deletion, one.insertion, one.random_deletion, one.random_insertion)
        } == {21}
        assert one.deletion[0] == one.random_deletion[0] == one.insertion[-1]  # the whole image
        assert one.deletion[-1] == one.random_deletion[-1]  # nothing left
        trapezes = np.trapezoid(one.deletion, dx=1 / 20)
        assert one.deletion_area.estimate == pytest.approx(trapezes, abs=1e-3)
        assert one.deletion_gain.estimate == pytest.approx(
            trapezes - np.trapezoid(one.random_deletion, dx=1 / 20), abs=1e-3
        )
    text = CliRunner().invoke(app, words[:-1], catch_exceptions=False).stdout
    assert "Occlusion" in text
    assert "(constant)" in text


@pytest.mark.usefixtures("weights")
def test_each_method_explains_a_case_and_can_be_cancelled() -> None:
    model, image = load_classifier("phantom-cnn"), sample_phantom("COVID", 3)
    for method in METHOD_TITLES:
        found = explain(model, image, "COVID", method)
        assert (found.method, found.target, found.heat.shape) == (method, "COVID", (128, 128))
        assert np.abs(found.heat).max() == pytest.approx(1) or not found.heat.any()

        def stop(done: int, total: int) -> None:
            raise Cancelled

        with pytest.raises(Cancelled):
            explain(model, image, "COVID", method, stop)
    assert explain(model, image, "COVID").method == "gradcam"
    with pytest.raises(
        ConfigError,
        match="there is no attribution method 'crystal-ball'; there are gradcam, hirescam",
    ):
        explain(model, image, "COVID", "crystal-ball")


@pytest.mark.usefixtures("weights")
def test_an_attribution_of_a_box_is_placed_at_the_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, image = load_classifier("phantom-cnn"), sample_phantom("COVID", 3)
    pixels = fit_to_square(image, 128)
    whole = explain(model, image, "COVID", "occlusion").heat
    monkeypatch.setattr(Classifier, "view", lambda *_: View(pixels, (0.25, 0.5, 0.75, 1.0)))
    part = explain(model, image, "COVID", "occlusion").heat
    inside = np.zeros((128, 128), dtype=bool)
    inside[64:, 32:96] = True
    assert not part[~inside].any()
    assert np.corrcoef(part[64:, 32:96].ravel(), whole[::2, ::2].ravel())[0, 1] > 0.9
