"""Phantoms: layout, determinism, anatomy, and classes that differ in the lungs only."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from covidxr.datasets.phantoms import MARKER, render_phantom, write_phantoms
from covidxr.errors import ConfigError, DatasetError
from covidxr.records import CLASS_NAMES, GrayImage

SIZE = 64
DISEASED = CLASS_NAMES[1:]
Phantoms = dict[str, list[tuple[GrayImage, GrayImage]]]


@pytest.fixture(scope="module")
def phantoms() -> Phantoms:
    """Sixty patients, each rendered for every class with the same exposure."""
    return {
        name: [render_phantom(name, np.random.default_rng(i), SIZE) for i in range(60)]
        for name in CLASS_NAMES
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(
        tmp_path_factory.mktemp("phantoms") / "new" / "set", per_class=8, size=64, seed=5
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sources.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_dataset_has_the_layout_of_the_radiography_database(dataset: Path) -> None:
    expected = {
        f"{c}/{kind}/{c}-{i}.png"
        for c in CLASS_NAMES
        for kind in ("images", "masks")
        for i in range(1, 9)
    }
    assert set(contents(dataset)) == expected | {"sources.csv", MARKER}
    for name in expected:
        with Image.open(dataset / name) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (64, 64))
            if "/masks/" in name:
                assert set(np.unique(np.asarray(image))) == {0, 255}


def test_no_temporary_files_remain(dataset: Path) -> None:
    assert [p.name for p in dataset.parent.iterdir()] == ["set"]


def test_the_marker_is_one_line_that_says_synthetic(dataset: Path) -> None:
    (line,) = (dataset / MARKER).read_text(encoding="utf-8").splitlines()
    assert line.startswith("synthetic phantoms, not radiographs")
    assert "seed 5" in line


def test_sources_list_every_image_once(dataset: Path) -> None:
    assert [row["file"] for row in rows(dataset)] == [
        f"{c}/images/{c}-{i}.png" for c in CLASS_NAMES for i in range(1, 9)
    ]
    assert {row["source"] for row in rows(dataset)} == {"phantom"}
    assert list(rows(dataset)[0]) == ["file", "source", "patient_id"]


def test_some_patients_of_each_class_have_two_images(dataset: Path) -> None:
    owned: dict[str, list[str]] = {}
    for row in rows(dataset):
        owned.setdefault(row["patient_id"], []).append(row["file"].split("/")[0])
    assert all(len(set(classes)) == 1 for classes in owned.values())
    for name in CLASS_NAMES:
        assert sorted(len(classes) for classes in owned.values() if classes[0] == name) == [
            1,
            1,
            1,
            1,
            2,
            2,
        ]


def test_images_of_one_patient_share_anatomy_but_not_exposure(dataset: Path) -> None:
    def left_share(name: str, i: int) -> float:
        """Share of lung on the left of the image: depends on the heart's size, not on exposure."""
        lungs, _ = ndimage.label(np.asarray(Image.open(dataset / f"{name}/masks/{name}-{i}.png")))
        areas = np.bincount(lungs.ravel())[1:]
        centers = [c[1] for c in ndimage.center_of_mass(lungs > 0, lungs, [1, 2])]
        return float(areas[np.argmin(centers)] / areas.sum())

    shares = np.array([[left_share(name, i) for i in range(1, 9)] for name in CLASS_NAMES])
    same_patient = np.abs(shares[:, [2, 6]] - shares[:, [3, 7]]).mean()
    other_patient = np.abs(shares[:, [0, 1, 2, 4, 5]] - shares[:, [1, 2, 4, 5, 6]]).mean()
    assert 0 < same_patient < other_patient / 2


def test_same_seed_gives_the_same_bytes_and_another_seed_other_images(
    dataset: Path, tmp_path: Path
) -> None:
    again = contents(write_phantoms(tmp_path / "again", per_class=8, size=64, seed=5))
    other = contents(write_phantoms(tmp_path / "other", per_class=8, size=64, seed=6))
    assert again == contents(dataset)
    assert all(other[name] != content for name, content in again.items() if name.endswith(".png"))


def test_a_larger_dataset_begins_with_the_smaller_one(dataset: Path, tmp_path: Path) -> None:
    small, large = (
        contents(write_phantoms(tmp_path / "small", per_class=4, size=64, seed=5)),
        contents(dataset),
    )
    pngs = [name for name in small if name.endswith(".png")]
    assert len(pngs) == 32
    assert all(small[name] == large[name] for name in pngs)


def test_all_images_of_a_dataset_differ(dataset: Path) -> None:
    images = [content for name, content in contents(dataset).items() if "/images/" in name]
    assert len(set(images)) == len(images) == 32


def test_lung_masks_are_two_lungs_of_plausible_size(phantoms: Phantoms) -> None:
    for _, mask in phantoms["Normal"]:
        assert 0.15 < (mask > 0).mean() < 0.55
        lungs, count = ndimage.label(mask)
        assert count == 2
        left, right = ndimage.center_of_mass(mask, lungs, [1, 2])
        assert min(left[1], right[1]) < SIZE / 2 < max(left[1], right[1])


def test_lungs_are_darker_than_the_mediastinum_and_the_heart_is_on_the_right(
    phantoms: Phantoms,
) -> None:
    middle = slice(SIZE // 2 - 4, SIZE // 2 + 4)
    for image, mask in phantoms["Normal"]:
        mediastinum = image[SIZE // 3 : 2 * SIZE // 3, middle]
        assert image[mask > 0].mean() < mediastinum.mean() - 40
    share_left = np.mean(
        [(mask[:, : SIZE // 2] > 0).sum() / (mask > 0).sum() for _, mask in phantoms["Normal"]]
    )
    # The heart reduces the lung on the right of the image.
    assert share_left > 0.5


@pytest.mark.parametrize("name", DISEASED)
def test_disease_brightens_the_lungs_and_nothing_else(phantoms: Phantoms, name: str) -> None:
    for (healthy, mask), (ill, mask_ill) in zip(phantoms["Normal"], phantoms[name], strict=True):
        change = ill.astype(float) - healthy
        assert np.array_equal(mask, mask_ill)
        assert change[mask > 0].mean() > 1
        assert (change[mask > 0] ** 2).sum() / (change**2).sum() > 0.98


def test_opacities_follow_the_pattern_of_their_class(phantoms: Phantoms) -> None:
    def touched(name: str) -> list[np.ndarray]:
        pairs = zip(phantoms["Normal"], phantoms[name], strict=True)
        return [(ill.astype(float) - healthy)[mask > 0] > 8 for (healthy, mask), (ill, _) in pairs]

    def one_lung_is_clear(name: str) -> float:
        clear = []
        for (healthy, mask), (ill, _) in zip(phantoms["Normal"], phantoms[name], strict=True):
            change = np.where(mask > 0, ill.astype(float) - healthy, 0)
            halves = change[:, : SIZE // 2].sum(), change[:, SIZE // 2 :].sum()
            clear.append(min(halves) < 0.02 * max(halves))
        return float(np.mean(clear))

    share = {name: float(np.mean([t.mean() for t in touched(name)])) for name in DISEASED}
    assert share["Viral Pneumonia"] > 0.5 > share["COVID"] > 0.1  # diffuse against patchy
    assert one_lung_is_clear("COVID") == one_lung_is_clear("Viral Pneumonia") == 0  # bilateral
    assert 0.2 < one_lung_is_clear("Lung_Opacity") < 0.8  # one lobe, or one on each side


@pytest.mark.parametrize("name", DISEASED)
def test_mean_brightness_alone_predicts_the_class_poorly(phantoms: Phantoms, name: str) -> None:
    brightness = [image.mean() for c in ("Normal", name) for image, _ in phantoms[c]]
    auroc = roc_auc_score([0] * 60 + [1] * 60, brightness)
    assert max(auroc, 1 - auroc) < 0.75


def test_size_changes_resolution_not_anatomy() -> None:
    small, large = (
        render_phantom("Normal", np.random.default_rng(3), size)[1] for size in (64, 256)
    )
    assert large.shape == (256, 256)
    assert large.dtype == np.uint8
    reduced = large.reshape(64, 4, 64, 4).mean(axis=(1, 3)) > 127
    assert (reduced == (small > 0)).mean() > 0.98


def test_a_folder_that_is_not_empty_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(DatasetError, match="mine"):
        write_phantoms(tmp_path / "mine", per_class=4, size=64)
    assert contents(tmp_path) == {"mine/thesis.txt": b"do not lose me"}
    with pytest.raises(DatasetError, match=r"thesis\.txt"):
        write_phantoms(tmp_path / "mine" / "thesis.txt", per_class=4, size=64)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert write_phantoms(tmp_path / "empty", per_class=4, size=64) == tmp_path / "empty"
    assert len(contents(tmp_path / "empty")) == 34


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"per_class": 3}, "per_class must be 4 or more, got 3"),
        ({"size": 63}, "size must be between 64 and 1024 pixels, got 63"),
        ({"size": 1025}, "got 1025"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_settings_out_of_range_are_rejected(
    tmp_path: Path, setting: dict[str, int], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        write_phantoms(tmp_path / "set", **setting)
    assert not list(tmp_path.iterdir())


def test_an_unknown_class_is_rejected() -> None:
    with pytest.raises(ConfigError, match="Lung_Opacity, got 'Fracture'"):
        render_phantom("Fracture", np.random.default_rng(0))
