from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from covidxr.datasets import duplicates
from covidxr.datasets.duplicates import (
    MIN_CORRELATION,
    THUMBNAIL,
    find_near_duplicates,
    near_duplicates,
)
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.phantoms import render_phantom
from covidxr.datasets.pixels import decode
from covidxr.images.radiograph import fit_to_square
from covidxr.records import CLASS_NAMES


def thumbnail(image: np.ndarray) -> np.ndarray:
    return fit_to_square(image.astype(np.uint8), THUMBNAIL)


def originals(n: int) -> list[np.ndarray]:
    return [render_phantom(CLASS_NAMES[i % 4], np.random.default_rng(i))[0] for i in range(n)]


def resaved(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).resize((180, 180))
    return np.asarray(small.resize(image.shape[::-1]))


def reexposed(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 0.8 + 25, 0, 255)


def annotated(image: np.ndarray) -> np.ndarray:
    drawn = Image.fromarray(image)
    ImageDraw.Draw(drawn).text((4, 4), "R  2020-03-14", fill=255)
    return np.asarray(drawn)


def cropped(image: np.ndarray) -> np.ndarray:
    edge = image.shape[0]
    return np.asarray(Image.fromarray(image[2 : edge - 2, 2 : edge - 2]).resize((edge, edge)))


@pytest.mark.parametrize(
    "change", [resaved, reexposed, annotated, cropped], ids=lambda f: f.__name__
)
def test_a_planted_near_duplicate_is_found(change: object) -> None:
    images = originals(24)
    changed = [change(image) for image in images[:8]]  # type: ignore[operator]
    pairs = near_duplicates(np.stack([thumbnail(i) for i in images + changed]))
    found = {tuple(pair) for pair in pairs.tolist()}
    assert {(i, 24 + i) for i in range(8)} <= found


def test_it_finds_exactly_the_pairs_that_a_full_comparison_finds() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(60, THUMBNAIL, THUMBNAIL))
    # Copies with increasing noise, on both sides of the threshold.
    for i in range(30):
        base[30 + i] = base[i % 6] + rng.normal(size=base[0].shape) * 0.02 * i
    thumbnails = np.clip(base * 40 + 128, 0, 255).astype(np.uint8)
    correlation = np.corrcoef(thumbnails.reshape(60, -1).astype(float))
    expected = {
        (i, j) for i in range(60) for j in range(i + 1, 60) if correlation[i, j] >= MIN_CORRELATION
    }
    assert 5 < len(expected) < 100
    assert {tuple(p) for p in near_duplicates(thumbnails).tolist()} == expected


def test_different_images_give_no_pairs() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, THUMBNAIL, THUMBNAIL)).astype(np.uint8)
    assert near_duplicates(noise).shape == (0, 2)


def test_near_duplicates_are_cached_and_given_by_position(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    copy = Path(shutil.copytree(phantoms, tmp_path / "copy"))
    for number, other in ((3, 900), (8, 901)):
        shutil.copy(
            copy / f"COVID/images/COVID-{number}.png", copy / f"COVID/images/COVID-{other}.png"
        )
    dataset = open_dataset(copy)
    thumbnails = decode(dataset, THUMBNAIL)

    found = find_near_duplicates(dataset, thumbnails)
    named = [
        (Path(dataset.samples[a].file).stem, Path(dataset.samples[b].file).stem)
        for a, b in found.tolist()
    ]
    assert {("COVID-3", "COVID-900"), ("COVID-8", "COVID-901")} <= set(named)
    fewer = dataset.without(
        [("Normal/images/Normal-1.png", "excluded"), ("COVID/images/COVID-3.png", "excluded")]
    )
    rows = thumbnails.rows([sample.file for sample in fewer.samples])
    expected = near_duplicates(thumbnails.array[rows])
    monkeypatch.setattr(duplicates, "near_duplicates", lambda *_: pytest.fail("searched again"))
    assert np.array_equal(find_near_duplicates(dataset, thumbnails), found)
    assert np.array_equal(find_near_duplicates(fewer, thumbnails), expected)
