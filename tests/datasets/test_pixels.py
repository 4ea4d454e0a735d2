from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from covidxr.datasets import pixels as room
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.pixels import decode
from covidxr.errors import Cancelled, DatasetError
from covidxr.images.radiograph import fit_to_square
from covidxr.images.reading import read_image


@pytest.fixture
def copy(phantoms: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms that a test may damage."""
    return Path(shutil.copytree(phantoms, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record every file that is decoded from now on."""
    decoded: list[str] = []

    def counting(content: bytes, name: str) -> object:
        decoded.append(name)
        return read_image(content, name)

    monkeypatch.setattr(room, "read_image", counting)
    return decoded


def test_rows_are_identical_to_the_images_and_decoded_once(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(copy)
    decoded = count_decodes(monkeypatch)
    pixels = decode(dataset, 48)
    assert len(decoded) == len(dataset.samples) == len(pixels.array)
    files = [dataset.samples[i].file for i in (150, 3)]
    for row, file in zip(pixels.rows(files), files, strict=True):
        assert np.array_equal(
            pixels.array[row], fit_to_square(read_image(dataset.read(file), file), 48)
        )
    again = decode(dataset, 48)
    assert len(decoded) == len(dataset.samples)
    assert np.array_equal(again.array, pixels.array)
    with pytest.raises(ValueError, match="read-only"):
        again.array[0] = 0


@pytest.mark.parametrize("damage", ["cut", "gone", "index"])
def test_a_damaged_cache_is_rebuilt(copy: Path, tmp_path: Path, damage: str) -> None:
    dataset = open_dataset(copy)
    before = np.array(decode(dataset, 48).array)
    (place,) = [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    if damage == "cut":
        os.truncate(place / "pixels.npy", 5_000)
    elif damage == "gone":
        (place / "pixels.npy").unlink()
    else:
        (place / "index.json").write_text('{"files": []')
    assert np.array_equal(decode(dataset, 48).array, before)


def test_a_changed_image_is_decoded_again(copy: Path) -> None:
    first = np.array(decode(open_dataset(copy), 48).array)
    shutil.copy(copy / "COVID/images/COVID-7.png", copy / "Normal/images/Normal-1.png")
    second = decode(open_dataset(copy), 48).array
    assert not np.array_equal(first[0], second[0])
    assert np.array_equal(first[1:], second[1:])


def test_an_unreadable_image_is_named_or_skipped(copy: Path) -> None:
    (copy / "Normal/images/Normal-2.png").write_bytes(b"damaged")
    dataset = open_dataset(copy)
    with pytest.raises(DatasetError, match=r"Normal/images/Normal-2.png: .* --skip-unreadable"):
        decode(dataset, 48)
    pixels = decode(dataset, 48, skip_unreadable=True)
    assert [file for file, _ in pixels.skipped] == ["Normal/images/Normal-2.png"]
    assert len(pixels.array) == len(dataset.samples) - 1
    kept = dataset.without(pixels.skipped)
    assert pixels.rows([s.file for s in kept.samples]).tolist() == list(range(len(kept.samples)))
    with pytest.raises(DatasetError, match="1 files are not among the decoded images"):
        pixels.rows(["Normal/images/Normal-2.png"])
    # the smaller dataset still finds the same cache
    assert len(decode(kept, 48, skip_unreadable=True).array) == len(kept.samples)


def test_decoding_reports_progress_and_can_be_stopped_without_remains(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(copy)
    decoded = count_decodes(monkeypatch)
    seen: list[tuple[int, int]] = []

    def stop_at_ten(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 10:
            raise Cancelled

    with pytest.raises(Cancelled):
        decode(dataset, 48, watch=stop_at_ten)
    assert seen == [(i, len(dataset.samples)) for i in range(1, 11)]
    assert len(decoded) < len(dataset.samples), "the rest was decoded all the same"
    assert [p.name for p in (tmp_path / "cache").iterdir() if p.is_dir()] == []
    assert len(decode(dataset, 48).array) == len(dataset.samples)
