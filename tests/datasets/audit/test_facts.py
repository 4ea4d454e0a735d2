from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from covidxr.datasets.audit import facts as room
from covidxr.datasets.audit.facts import Facts, count_formats, measure, measure_file
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.phantoms import render_phantom
from covidxr.errors import Cancelled, DatasetError


@pytest.fixture
def copy(phantoms: Path, tmp_path: Path) -> Path:
    """Four phantoms of each class that a test may damage."""
    for folder in phantoms.glob("*/images"):
        own = tmp_path / "copy" / folder.relative_to(phantoms)
        own.mkdir(parents=True)
        for number in (1, 2, 3, 4):
            shutil.copy(folder / f"{folder.parent.name}-{number}.png", own)
    return tmp_path / "copy"


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image = Image.fromarray(image.astype(np.uint8)) if isinstance(image, np.ndarray) else image
    image.save(content, kind, **options)
    return content.getvalue()


def phantom(seed: int = 0, size: int = 224) -> Image.Image:
    return Image.fromarray(render_phantom("Normal", np.random.default_rng(seed), size)[0])


def count_measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    measured: list[str] = []

    def counting(content: bytes, name: str) -> object:
        measured.append(name)
        return measure_file(content, name)

    monkeypatch.setattr(room, "measure_file", counting)
    return measured


def test_every_property_equals_its_value_by_hand() -> None:
    image = np.full((64, 96), 100)
    # A black frame of a sixteenth of the height.
    image[:4] = image[-4:] = 0
    image[:, :4] = image[:, -4:] = 0
    image[30:34, 40:48] = 255  # 32 white pixels in the middle, which is 32 x 48
    inside = 56 * 88
    found = measure_file(saved(image), "a.png")
    mean = (100 * inside + 155 * 32) / image.size
    assert (found["width"], found["height"], found["format"], found["mode"]) == (96, 64, "PNG", "L")
    assert found["file_bytes"] == len(saved(image))
    assert found["brightness"] == pytest.approx(mean) == pytest.approx(image.mean())
    assert found["contrast"] == pytest.approx(image.std())
    assert found["border"] == 0
    assert found["black"] == pytest.approx(1 - inside / image.size)
    assert found["white"] == pytest.approx(32 / image.size)
    assert found["white_middle"] == pytest.approx(32 / (32 * 48))
    assert found["black_middle"] == found["colourfulness"] == 0


def test_the_hash_does_not_depend_on_the_file_format() -> None:
    gray = phantom()
    same = {
        measure_file(c, "a")["pixel_hash"]
        for c in (saved(gray), saved(gray, compress_level=1), saved(gray.convert("RGB")))
    }
    other = {
        measure_file(saved(p), "a")["pixel_hash"]
        for p in (gray.transpose(Image.Transpose.ROTATE_90), phantom(1))
    }
    assert len(same) == 1
    assert len(other | same) == 3
    # 32 x 64 and 64 x 32 of one gray value hold the same bytes
    shapes = {
        measure_file(saved(np.full(shape, 9)), "a")["pixel_hash"] for shape in ((32, 64), (64, 32))
    }
    assert len(shapes) == 2


def test_gray_images_stored_in_color_are_not_colorful() -> None:
    gray = phantom()
    assert measure_file(saved(gray.convert("RGB"), "JPEG", quality=60), "a")["colourfulness"] < 1
    # M of Hasler & Süsstrunk by hand: half the image pure red, half black
    half = Image.new("RGB", (64, 64))
    half.paste((255, 0, 0), (0, 0, 32, 64))
    m = np.hypot(127.5, 63.75) * 1.3  # rg is 255 or 0 (mean = spread = 127.5), yb 127.5 or 0
    assert measure_file(saved(half), "a")["colourfulness"] == pytest.approx(m)


@pytest.mark.parametrize("fill", [0, 255])
def test_letters_on_a_line_are_counted(fill: int) -> None:
    image = Image.new("L", (224, 224), 128)
    ImageDraw.Draw(image).text((20, 20), "H H H H H", fill=fill)
    assert measure_file(saved(image), "a")["letters"] == 5
    assert measure_file(saved(Image.new("L", (224, 224), 128)), "a")["letters"] == 0
    assert max(measure_file(saved(phantom(seed)), "a")["letters"] for seed in range(5)) < 3


def test_polarity_is_the_correlation_with_the_mean_image(copy: Path) -> None:
    file = copy / "COVID/images/COVID-2.png"
    with Image.open(file) as image:
        negative = 255 - np.asarray(image)
    Image.fromarray(negative).save(file)
    facts = measure(open_dataset(copy))
    layouts = np.array(
        [measure_file(open_dataset(copy).read(f), f)["layout"] for f in facts.files.tolist()]
    )
    expected = [np.corrcoef(layout, layouts.mean(axis=0))[0, 1] for layout in layouts]
    assert facts.polarity == pytest.approx(np.array(expected), abs=1e-9)
    assert facts.files[facts.polarity < 0].tolist() == ["COVID/images/COVID-2.png"]


def test_files_are_measured_once_and_returned_in_order(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(copy)
    measured = count_measured(monkeypatch)
    first = measure(dataset)
    assert len(measured) == len(dataset.samples) == 16
    again = measure(dataset)
    fewer = measure(dataset.without([(dataset.samples[0].file, "excluded")]))
    assert len(measured) == 16
    for name in room._NAMES:
        assert np.array_equal(getattr(again, name), getattr(first, name))
        assert np.array_equal(getattr(fewer, name), getattr(first, name)[1:])
    assert first.take(["COVID/images/COVID-3.png"]).files.tolist() == ["COVID/images/COVID-3.png"]
    with pytest.raises(
        DatasetError, match=r"1 files were not measured, the first is elsewhere\.png"
    ):
        first.take(["elsewhere.png"])


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_cache_is_rebuilt(
    copy: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(copy)
    before = measure(dataset)
    (place,) = (tmp_path / "cache").glob("*facts*.npz")
    if damage == "cut":
        os.truncate(place, place.stat().st_size // 2)
    elif damage == "empty":
        place.write_bytes(b"")
    else:
        np.savez(place, files=np.array(["other.png"]))
    measured = count_measured(monkeypatch)
    assert np.array_equal(measure(dataset).pixel_hash, before.pixel_hash)
    assert len(measured) == 16


def test_a_changed_image_is_measured_again(copy: Path) -> None:
    before = measure(open_dataset(copy))
    shutil.copy(copy / "COVID/images/COVID-2.png", copy / "Normal/images/Normal-1.png")
    after = measure(open_dataset(copy))
    assert (after.pixel_hash != before.pixel_hash).tolist() == [True] + [False] * 15


def test_an_unreadable_image_is_named_unless_excluded(copy: Path) -> None:
    (copy / "Normal/images/Normal-2.png").write_bytes(b"damaged")
    dataset = open_dataset(copy)
    with pytest.raises(DatasetError, match=r"Normal/images/Normal-2\.png"):
        measure(dataset)
    assert isinstance(measure(dataset.without([("Normal/images/Normal-2.png", "damaged")])), Facts)


def test_the_measurement_reports_progress_and_can_be_stopped(copy: Path, tmp_path: Path) -> None:
    dataset = open_dataset(copy)
    seen: list[tuple[int, int]] = []

    def stop_at_five(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        measure(dataset, stop_at_five)
    assert seen == [(i, 16) for i in range(1, 6)]
    assert list((tmp_path / "cache").glob("*.npz")) == []


def test_formats_are_read_from_headers_once_and_again_after_changes(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    data = shutil.copytree(phantoms, tmp_path / "data")
    images = data / "COVID" / "images"
    with Image.open(images / "COVID-1.png") as image:
        image.convert("RGB").resize((90, 70)).save(images / "COVID-1.png")
        image.save(images / "COVID-2.jpg")
    (images / "COVID-2.png").unlink()
    (images / "COVID-3.png").write_bytes(b"no image")
    whole = (images / "COVID-4.png").read_bytes()
    (images / "COVID-4.png").write_bytes(whole[:60])  # the header is there, the pixels are not
    expected = {(128, 128, "PNG", "L"): 157, (90, 70, "PNG", "RGB"): 1, (128, 128, "JPEG", "L"): 1}
    assert count_formats(open_dataset(data)) == Counter(expected)

    with monkeypatch.context() as patch:
        patch.setattr(room, "_file_format", lambda *_: pytest.fail("read again"))
        assert count_formats(open_dataset(data)) == Counter(expected)
    Image.new("L", (50, 50)).save(images / "COVID-3.png")
    assert count_formats(open_dataset(data))[50, 50, "PNG", "L"] == 1


def test_a_dicom_file_is_counted_by_its_size(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    content = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    assert room._file_format(content) == (128, 128, "DICOM", "L")
