from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from covidxr.errors import ModelError
from covidxr.images.radiograph import fit_to_square
from covidxr.images.reading import read_image
from covidxr.models import store
from covidxr.models.inference import predict_scores
from covidxr.ood.detector import OodDetector, to_bytes
from covidxr.prediction.loading import load_classifier


@pytest.fixture
def root(phantom_model_folder: Path, tmp_path: Path) -> Path:
    """A weights folder that a test may damage."""
    return Path(shutil.copytree(phantom_model_folder, tmp_path / "weights"))


def edit_card(root: Path, **changes: object) -> None:
    path = root / "phantom-cnn" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_weights(root: Path, weights: dict[str, torch.Tensor]) -> None:
    """Store other weights with a matching card."""
    import hashlib

    file = root / "phantom-cnn" / "model.safetensors"
    save_file(weights, file)
    edit_card(root, weights_sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def test_saved_and_loaded_models_are_identical(root: Path) -> None:
    model = load_classifier("phantom-cnn", root)
    weights = {k: v.clone() for k, v in model.network.state_dict().items()}
    predictions = store.read_predictions(root / "phantom-cnn")
    assert isinstance(model.detector, OodDetector)
    store.save_model(
        root, replace(model.card, model_id="copy"), weights, predictions, to_bytes(model.detector)
    )
    again = load_classifier("copy", root)
    assert isinstance(again.detector, OodDetector)
    assert to_bytes(again.detector) == to_bytes(model.detector)
    # The kernels were rounded to half precision before; a second time changes nothing.
    assert all(torch.equal(v, again.network.state_dict()[k]) for k, v in weights.items())
    assert replace(again.card, model_id="phantom-cnn") == model.card
    back = store.read_predictions(root / "copy")
    assert np.array_equal(back.y_score, predictions.y_score)
    assert back.samples == predictions.samples
    assert back.groups is not None
    assert predictions.groups is not None
    assert np.array_equal(back.groups, predictions.groups)
    assert back.sources == predictions.sources == ("phantom",) * len(back)


def test_stored_predictions_are_those_of_the_stored_weights(root: Path, phantoms: Path) -> None:
    model, predictions = (
        load_classifier("phantom-cnn", root),
        store.read_predictions(root / "phantom-cnn"),
    )
    pixels = np.stack(
        [
            fit_to_square(read_image((phantoms / f).read_bytes(), f), 128)
            for f in predictions.samples
        ]
    )
    scores = predict_scores(model.network, pixels, np.arange(len(pixels)), model.card.preprocessing)
    assert np.allclose(scores, predictions.y_score, atol=1e-5)


def test_a_pickle_is_rejected_by_name(root: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"x": torch.zeros(1)}, buffer)
    file = root / "phantom-cnn" / "model.safetensors"
    file.write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match="weights of phantom-cnn do not match its card"):
        load_classifier("phantom-cnn", root)
    import hashlib

    edit_card(root, weights_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    with pytest.raises(ModelError, match=r"not a safetensors file .* pickled weights are rejected"):
        load_classifier("phantom-cnn", root)


@pytest.mark.parametrize("how", ["missing", "extra", "misshaped"])
def test_tensors_that_do_not_fit_are_rejected(root: Path, how: str) -> None:
    weights = load_file(root / "phantom-cnn" / "model.safetensors")
    if how == "missing":
        del weights["conv2.bias"]
    elif how == "extra":
        weights["conv9.bias"] = torch.zeros(3)
    else:
        weights["conv2.bias"] = torch.zeros(3)
    rewrite_weights(root, weights)
    with pytest.raises(ModelError, match=r"weights of phantom-cnn do not fit poster_cnn: .*conv"):
        load_classifier("phantom-cnn", root)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema_version": 99}, "schema 99, and this version of covidxr reads 1; update covidxr"),
        ({"architecture": "vgg"}, "no architecture 'vgg'"),
        ({"temperature": "hot"}, "temperature must be float, got str"),
        ({"model_id": "other"}, "is that of other"),
        ({"surprise": 1}, "unknown field surprise"),
        ({"metrics": {}}, "no test accuracy"),
    ],
)
def test_an_invalid_card_is_rejected(root: Path, changes: dict[str, object], sentence: str) -> None:
    edit_card(root, **changes)
    with pytest.raises(ModelError, match=sentence):
        load_classifier("phantom-cnn", root)


def test_the_list_shows_broken_models_with_their_reason(root: Path) -> None:
    (root / "broken").mkdir()
    (root / "broken" / "card.json").write_text("{")
    (root / "empty").mkdir()
    (root / ".hidden").mkdir()
    entries = {e.model_id: e for e in store.list_models(root)}
    assert set(entries) == {"phantom-cnn", "broken", "empty"}
    assert entries["phantom-cnn"].card is not None
    assert "not" in str(entries["broken"].error)
    assert "has no card.json" in str(entries["empty"].error)
    assert next(iter(store.list_models(root))).model_id == "phantom-cnn"
    assert store.list_models(root / "nowhere") == ()


def test_models_are_not_overwritten_and_paths_are_rejected(root: Path) -> None:
    model = load_classifier("phantom-cnn", root)
    with pytest.raises(ModelError, match="there is a model phantom-cnn already"):
        store.save_model(
            root,
            model.card,
            dict(model.network.state_dict()),
            store.read_predictions(root / "phantom-cnn"),
        )
    for name in ("../x", "", "a/b", ".hidden", "a b"):
        with pytest.raises(ModelError, match="is not a model id"):
            store.model_folder(root, name)


def test_damaged_predictions_are_rejected(root: Path) -> None:
    file = root / "phantom-cnn" / "predictions.csv"
    file.write_text(file.read_text().replace(",test,", ",test,Flu,", 1))
    with pytest.raises(ModelError, match="predictions of phantom-cnn cannot be read"):
        store.read_predictions(root / "phantom-cnn")
    file.unlink()
    with pytest.raises(ModelError, match=r"has no predictions.csv"):
        store.read_predictions(root / "phantom-cnn")


@pytest.mark.slow
def test_the_segmenter_is_not_listed_as_a_classifier(lungs_folder: Path) -> None:
    assert store.LUNGS not in {entry.model_id for entry in store.list_models(lungs_folder)}
