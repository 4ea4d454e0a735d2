"""The lung segmenter on phantoms, whose lungs are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from covidxr.cards import SegmenterRecipe, ShortcutCheck
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.pixels import decode
from covidxr.errors import DatasetError, ImageError, ModelError
from covidxr.explanation.attribution import place_on_square
from covidxr.images.reading import read_image
from covidxr.lungs.inputs import input_pixels, lung_masks
from covidxr.lungs.masks import read_mask
from covidxr.lungs.segmenter import LungSegmenter
from covidxr.lungs.training import train_lungs
from covidxr.models import store
from covidxr.models.recipes import recipe
from covidxr.prediction.loading import load_classifier, load_segmenter, verify_models
from covidxr.records import Preprocessing, SplitPlan
from covidxr.runs.estimate import estimate
from covidxr.runs.journal import RunConfig
from tests.helpers import audit

pytestmark = pytest.mark.slow


def test_lungs_of_phantoms_are_found_and_evaluated(lungs_folder: Path, phantoms: Path) -> None:
    segmenter = load_segmenter(lungs_folder)
    card = segmenter.card
    assert card.metrics["dice"].estimate > 0.9
    assert card.metrics["dice"].low < card.metrics["dice"].estimate < card.metrics["dice"].high
    # Dice by hand, for the worst of them
    file, told = card.worst[0]
    dataset = open_dataset(phantoms)
    (sample,) = (s for s in dataset.samples if s.file == file)
    assert sample.mask is not None
    said, true = (
        segmenter.mask(read_image(dataset.read(file), file)),
        read_mask(dataset.read(sample.mask), "mask"),
    )
    assert 2 * (said & true).sum() / (said.sum() + true.sum()) == pytest.approx(told)
    rows = (lungs_folder / store.LUNGS / "predictions.csv").read_text("utf-8").splitlines()
    assert rows[0] == "sample,split,dice,iou"
    assert len(rows) == 1 + sum(
        n for split in ("val", "test") for n in card.mask_counts[split].values()
    )
    mean = np.mean([float(row.split(",")[2]) for row in rows[1:] if row.split(",")[1] == "test"])
    assert mean == pytest.approx(card.metrics["dice"].estimate, abs=1e-4)


def test_the_segmenter_is_not_listed_as_a_classifier(lungs_folder: Path) -> None:
    assert store.LUNGS not in {entry.model_id for entry in store.list_models(lungs_folder)}


def test_weights_that_do_not_match_the_card_are_rejected(
    lungs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(lungs_folder / store.LUNGS, tmp_path / store.LUNGS)
    weights = tmp_path / store.LUNGS / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match="do not match its card"):
        load_segmenter(tmp_path)
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path))
    assert "do not match its card" in str(verify_models()[store.LUNGS])
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(lungs_folder))
    assert set(verify_models().values()) == {None}
    with pytest.raises(ModelError, match=r"no lung segmenter in .*covidxr train-lungs"):
        load_segmenter(tmp_path / "nowhere")


def test_inputs_in_use_are_identical_to_those_in_training(
    lungs_folder: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(lungs_folder))
    model = load_classifier("lungs-cnn")
    assert model.segmenter is not None
    dataset = open_dataset(phantoms)
    pixels = input_pixels(model.card.preprocessing, model.segmenter, dataset)
    whole = decode(dataset, model.card.preprocessing.image_size)
    for file in [sample.file for sample in dataset.samples][::20]:
        image = read_image(dataset.read(file), file)
        view = model.view(image)
        (row,) = pixels.rows([file])
        assert np.array_equal(view.pixels, pixels.array[row])
        assert not np.array_equal(view.pixels, whole.array[row])
        assert np.array_equal(
            lung_masks(dataset, [file], load_segmenter())[0], model.segmenter.mask(image)
        )


def test_an_attribution_of_the_lungs_is_placed_at_the_lungs(
    lungs_folder: Path, phantoms: Path
) -> None:
    model = load_classifier("lungs-cnn", lungs_folder)
    file = open_dataset(phantoms).samples[0].file
    view = model.view(read_image((phantoms / file).read_bytes(), file))
    whole = place_on_square(np.ones((128, 128), dtype=np.float32), view.box)
    left, top, right, bottom = (round(edge * 128) for edge in view.box)
    assert (whole[top:bottom, left:right] == 1).all()
    assert whole.sum() == (bottom - top) * (right - left)


def test_an_image_without_lungs_is_rejected(
    lungs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_classifier("lungs-cnn", lungs_folder)
    monkeypatch.setattr(LungSegmenter, "mask", lambda *_: np.zeros((256, 256), dtype=bool))
    with pytest.raises(ImageError, match="no lungs were found"):
        model.predict(np.zeros((200, 200), dtype=np.uint8))


def test_a_model_is_not_loaded_with_another_segmenter(lungs_folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(lungs_folder, tmp_path / "weights")
    card = tmp_path / "weights" / "lungs-cnn" / "card.json"
    own = store.read_segmenter_card(lungs_folder).weights_sha256
    card.write_text(card.read_text("utf-8").replace(own, "0" * 64), "utf-8")
    with pytest.raises(ModelError, match="another covidxr-lungs"):
        load_classifier("lungs-cnn", tmp_path / "weights")


def test_training_needs_masks(tmp_path: Path, phantoms: Path) -> None:
    import shutil

    shutil.copytree(phantoms, tmp_path / "bare", ignore=shutil.ignore_patterns("masks"))
    with pytest.raises(DatasetError, match="no lung masks in the train split"):
        train_lungs(
            open_dataset(tmp_path / "bare"),
            SegmenterRecipe(epochs=1),
            SplitPlan(),
            tmp_path / "weights",
        )
    assert not (tmp_path / "weights" / store.LUNGS).exists()


def test_the_audit_blackens_the_lungs_and_all_but_the_lungs(
    lungs_folder: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand from the masks; not measured for a lung-only model."""
    import shutil

    from sklearn.metrics import accuracy_score

    from covidxr.lungs.masks import resize_mask
    from covidxr.models.inference import predict_scores

    shutil.copytree(lungs_folder, tmp_path / "weights")
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "weights"))
    sets = store.read_card(tmp_path / "weights" / "phantom-cnn").prediction_sets
    edited = tmp_path / "weights" / "phantom-cnn" / "card.json"
    edited.write_text(
        json.dumps(
            {
                k: v
                for k, v in json.loads(edited.read_text("utf-8")).items()
                if k != "prediction_sets"
            }
        ),
        "utf-8",
    )
    assert store.read_card(edited.parent).prediction_sets is None  # as in a card of before
    card = audit("phantom-cnn", phantoms)
    assert card.prediction_sets == sets is not None
    assert card == store.read_card(tmp_path / "weights" / "phantom-cnn")
    found: dict[str, ShortcutCheck] = {check.kind: check for check in card.shortcuts}
    model, part = (
        load_classifier("phantom-cnn"),
        store.read_predictions(tmp_path / "weights" / "phantom-cnn").take("test"),
    )
    dataset = open_dataset(phantoms)
    pixels = decode(dataset, 128)
    images = pixels.array[pixels.rows(part.samples)]
    masks = np.stack(
        [resize_mask(mask, 128) for mask in lung_masks(dataset, part.samples, load_segmenter())]
    )
    for kind, kept in (("lungs-blackened", ~masks), ("lungs-only", masks)):
        scores = predict_scores(
            model.network, images * kept, np.arange(len(part)), Preprocessing(128)
        )
        assert found[kind].figures["accuracy"].estimate == pytest.approx(
            accuracy_score(part.y_true, scores.argmax(axis=1))
        )
        assert found[kind].figures["lung_area"].estimate == pytest.approx(masks.mean())
    lungs_card = audit("lungs-cnn", phantoms)
    assert not {"lungs-blackened", "lungs-only"} & {check.kind for check in lungs_card.shortcuts}


def test_the_estimate_of_a_lung_recipe_includes_the_segmentation(
    lungs_folder: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(lungs_folder))
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    chosen = recipe("poster-cnn").override(epochs=1, batch_size=16, region="lungs")
    cost = estimate(RunConfig(chosen, SplitPlan(), str(phantoms)), tmp_path / "run")
    assert cost.cache_bytes == 160 * (64**2 + 128**2 + 256**2 // 8)
    whole = estimate(
        RunConfig(chosen.override(region="picture"), SplitPlan(), str(phantoms)), tmp_path / "run"
    )
    assert whole.cache_bytes == 160 * (64**2 + 128**2)
    assert whole.decode_seconds < cost.decode_seconds
