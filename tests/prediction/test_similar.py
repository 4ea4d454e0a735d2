"""Similar cases."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.errors import Cancelled, DatasetError
from covidxr.images.reading import read_image
from covidxr.models.classifier import Classifier
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.similar import TrainingFeatures, features_file, features_of, similar_cases
from covidxr.records import GrayImage

pytestmark = pytest.mark.usefixtures("phantom_models")


@pytest.fixture(scope="module")
def model(phantom_model_folder: Path) -> Classifier:
    return load_classifier("phantom-cnn", phantom_model_folder)


@pytest.fixture(scope="module")
def known(model: Classifier, phantoms: Path) -> TrainingFeatures:
    return features_of(model, open_dataset(phantoms))


def by_hand(model: Classifier, image: GrayImage) -> np.ndarray:
    """Return the unit-length input of the small CNN's last layer, in plain torch without hooks."""
    import torch
    from torch.nn import functional as F

    from covidxr.models.preprocessing import to_input

    network = model.network
    x = to_input(image[None], model.card.preprocessing)
    with torch.inference_mode():
        for convolution in ("conv1", "conv2"):
            x = F.max_pool2d(F.relu(network.get_submodule(convolution)(x)), 8)
        for layer in ("fc1", "fc2"):
            x = F.relu(network.get_submodule(layer)(x.flatten(1)))
    point: np.ndarray = x[0].double().numpy()
    point /= np.linalg.norm(point)
    return point


def test_cases_are_those_of_a_plain_search_without_the_group_of_the_image(
    model: Classifier, known: TrainingFeatures, phantoms: Path
) -> None:
    split, dataset = known.data.split, known.data.dataset
    images = {file: read_image((phantoms / file).read_bytes(), file) for file in split.files}
    points = {file: by_hand(model, image) for file, image in images.items()}
    trained = [file for file, name in zip(split.files, split.names, strict=True) if name == "train"]
    groups = dict(zip(split.files, split.groups.tolist(), strict=True))
    # A patient with several training images, and a test image.
    sizes = np.bincount(split.groups[known.rows])
    several = next(file for file in trained if sizes[groups[file]] > 2)
    for file in (several, split.files[split.rows("test")[0]]):
        distance = {
            other: np.linalg.norm(points[file] - points[other])
            for other in trained
            if groups[other] != groups[file]
        }
        expected = sorted(distance.values())[:6]
        cases = similar_cases(model, known, file)
        assert [case.distance for case in cases] == pytest.approx(expected, abs=2e-3)
        assert [distance[case.file] for case in cases] == pytest.approx(expected, abs=2e-3)
        for case in cases:
            sample = next(sample for sample in dataset.samples if sample.file == case.file)
            assert (case.class_name, case.source) == (
                dataset.class_names[sample.label],
                sample.source,
            )
            assert not case.near_duplicate


def test_an_uploaded_training_image_is_listed_as_a_near_duplicate(
    model: Classifier, known: TrainingFeatures, phantoms: Path
) -> None:
    file = known.data.split.files[known.rows[0]]
    image = read_image((phantoms / file).read_bytes(), file)
    first, *others = similar_cases(model, known, image, n=4)
    assert (first.file, first.near_duplicate) == (file, True)
    assert first.distance == pytest.approx(0, abs=2e-3)
    assert [case.distance for case in others] == sorted(case.distance for case in others)
    assert len(others) == 3
    assert 0 < known.usual < 2**0.5


def test_features_are_cached_and_recomputed_for_a_damaged_or_wrong_file(
    model: Classifier, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))
    dataset = open_dataset(phantoms)
    steps: list[tuple[int, int]] = []
    first = features_of(model, dataset, lambda done, total: steps.append((done, total)))
    n = len(first.rows)
    assert steps == [(64, n), (n, n)]
    file = features_file(model.card, dataset)
    with np.load(file, allow_pickle=False) as stored:
        assert (stored["points"].dtype, stored["points"].shape) == (np.float16, (n, 50))
    again = features_of(model, dataset, lambda *_: pytest.fail("the features are cached"))
    assert np.array_equal(again.neighbors.points, first.neighbors.points)

    whole = file.read_bytes()
    with np.load(file) as stored:
        wrong = {"files": stored["files"][::-1], "points": stored["points"]}
    for damage in (
        lambda: file.write_bytes(whole[: len(whole) // 2]),
        lambda: np.savez(file, **wrong),
    ):
        damage()
        steps.clear()
        repeated = features_of(model, dataset, lambda done, total: steps.append((done, total)))
        assert steps[-1] == (n, n)
        assert np.array_equal(repeated.neighbors.points, first.neighbors.points)


def test_the_cache_file_depends_on_weights_and_files(
    model: Classifier, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(phantoms)
    own = features_file(model.card, dataset)
    assert features_file(replace(model.card, weights_sha256="0" * 64), dataset) != own
    data = shutil.copytree(phantoms, tmp_path / "data")
    # As if it were written again.
    os.utime(data / dataset.samples[0].file, (1, 1))
    assert features_file(model.card, open_dataset(data)) != own


def test_cancelling_writes_no_file_and_releases_the_lock(
    model: Classifier, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))

    def stop(done: int, total: int) -> None:
        raise Cancelled

    dataset = open_dataset(phantoms)
    with pytest.raises(Cancelled):
        features_of(model, dataset, stop)
    assert not features_file(model.card, dataset).exists()
    assert not model.lock.locked()


def test_other_images_and_other_splits_are_rejected(
    model: Classifier, known: TrainingFeatures, phantoms: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(phantoms, tmp_path / "data")
    (data / known.data.split.files[0]).unlink()
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        features_of(model, open_dataset(data))
    other = Classifier(replace(model.card, split_fingerprint="0" * 16), model.network)
    with pytest.raises(DatasetError, match="is not split as when phantom-cnn was trained on it"):
        features_of(other, open_dataset(phantoms))
    with pytest.raises(DatasetError, match=r"elsewhere\.png is not an image of"):
        similar_cases(model, known, "elsewhere.png")
