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
from covidxr.prediction.similar import TrainingFeatures, features_at, features_of, similar_cases
from covidxr.records import GreyImage

pytestmark = pytest.mark.usefixtures("phantom_models")


@pytest.fixture(scope="module")
def model(phantom_model_folder: Path) -> Classifier:

    return load_classifier("phantom-cnn", phantom_model_folder)


@pytest.fixture(scope="module")
def known(model: Classifier, phantoms: Path) -> TrainingFeatures:
    return features_of(model, open_dataset(phantoms))


def by_hand(model: Classifier, image: GreyImage) -> np.ndarray:
    """What enters the last layer of the study's network, of length 1, in plain torch and without the product's hooks."""
    import torch
    from torch.nn import functional as F

    from covidxr.models.preprocessing import to_input

    x = to_input(image[None], model.card.preprocessing)
    with torch.inference_mode():
        for convolution in (model.network.conv1, model.network.conv2):
            x = F.max_pool2d(F.relu(convolution(x)), 8)
        x = F.relu(model.network.fc2(F.relu(model.network.fc1(x.flatten(1)))))
    point: np.ndarray = x[0].double().numpy()
    return point / np.linalg.norm(point)


def test_cases_are_the_nearest_of_a_plain_search_and_never_of_the_picture_s_own_group(
    model: Classifier, known: TrainingFeatures, phantoms: Path
) -> None:
    split, dataset = known.data.split, known.data.dataset
    images = {file: read_image((phantoms / file).read_bytes(), file) for file in split.files}
    points = {file: by_hand(model, image) for file, image in images.items()}
    trained = [file for file, name in zip(split.files, split.names, strict=True) if name == "train"]
    groups = dict(zip(split.files, split.groups.tolist(), strict=True))
    # A patient with several pictures in training, and a picture of the test split.
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
            assert not case.twin


def test_a_new_picture_that_is_a_training_picture_is_shown_and_marked(
    model: Classifier, known: TrainingFeatures, phantoms: Path
) -> None:
    file = known.data.split.files[known.rows[0]]
    image = read_image((phantoms / file).read_bytes(), file)
    first, *others = similar_cases(model, known, image, n=4)
    assert (first.file, first.twin) == (file, True)
    assert first.distance == pytest.approx(0, abs=2e-3)
    assert [case.distance for case in others] == sorted(case.distance for case in others)
    assert len(others) == 3
    assert 0 < known.usual < 2**0.5


def test_features_are_worked_out_once_and_anew_when_their_file_is_damaged_or_of_other_pictures(
    model: Classifier, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))
    dataset = open_dataset(phantoms)
    seen: list[tuple[int, int]] = []
    first = features_of(model, dataset, lambda done, total: seen.append((done, total)))
    n = len(first.rows)
    assert seen == [(64, n), (n, n)]
    place = features_at(model.card, dataset)
    with np.load(place, allow_pickle=False) as stored:
        assert (stored["points"].dtype, stored["points"].shape) == (np.float16, (n, 50))
    again = features_of(model, dataset, lambda *_: pytest.fail("nothing is to be done"))
    assert np.array_equal(again.neighbors.points, first.neighbors.points)

    whole = place.read_bytes()
    with np.load(place) as stored:
        wrong = {"files": stored["files"][::-1], "points": stored["points"]}
    for spoil in (
        lambda: place.write_bytes(whole[: len(whole) // 2]),
        lambda: np.savez(place, **wrong),
    ):
        spoil()
        seen.clear()
        mended = features_of(model, dataset, lambda done, total: seen.append((done, total)))
        assert seen[-1] == (n, n)
        assert np.array_equal(mended.neighbors.points, first.neighbors.points)


def test_features_are_named_after_weights_and_files(
    model: Classifier, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(phantoms)
    own = features_at(model.card, dataset)
    assert features_at(replace(model.card, weights_sha256="0" * 64), dataset) != own
    data = shutil.copytree(phantoms, tmp_path / "data")
    os.utime(data / dataset.samples[0].file, (1, 1))  # written again
    assert features_at(model.card, open_dataset(data)) != own


def test_what_is_cancelled_leaves_nothing_behind(
    model: Classifier, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))

    def stop(done: int, total: int) -> None:
        raise Cancelled

    dataset = open_dataset(phantoms)
    with pytest.raises(Cancelled):
        features_of(model, dataset, stop)
    assert not features_at(model.card, dataset).exists()
    assert not model.lock.locked()


def test_other_pictures_and_other_divisions_are_refused(
    model: Classifier, known: TrainingFeatures, phantoms: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(phantoms, tmp_path / "data")
    (data / known.data.split.files[0]).unlink()
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        features_of(model, open_dataset(data))
    other = Classifier(replace(model.card, split_fingerprint="0" * 16), model.network)
    with pytest.raises(
        DatasetError, match="is divided otherwise than when phantom-cnn was trained on it"
    ):
        features_of(other, open_dataset(phantoms))
    with pytest.raises(DatasetError, match=r"elsewhere\.png is not among the pictures"):
        similar_cases(model, known, "elsewhere.png")
