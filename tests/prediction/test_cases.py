"""Single images."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidxr.errors import ImageError, ModelError
from covidxr.figures import heat_overlay
from covidxr.images.radiograph import fit_to_square
from covidxr.prediction.cases import (
    explain,
    padding_sentence,
    predict_files,
    sample_phantom,
    stability,
)
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.report import report_file

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_stability_is_that_of_six_versions_predicted_alone() -> None:
    model = load_classifier("phantom-cnn")
    image = sample_phantom("COVID", 3)
    found = stability(model, image)
    original = Image.fromarray(fit_to_square(image, 128))
    flipped = Image.fromarray(np.asarray(original)[:, ::-1].copy())
    each = [
        model.predict(np.asarray(version.rotate(angle, Image.Resampling.BICUBIC)))
        for version in (original, flipped)
        for angle in (0, -5, 5)
    ]
    assert found.called == tuple(case.predicted for case in each)
    for name, (low, high) in found.ranges.items():
        own = [case.probabilities[name] for case in each]
        assert (low, high) == pytest.approx((min(own), max(own)))
    assert found.kept == sum(case.predicted == each[0].predicted for case in each)


def test_only_classes_of_the_model_are_explained() -> None:
    model = load_classifier("phantom-cnn")
    image = sample_phantom("COVID", 3)
    assert explain(model, image, "Normal").target == "Normal"
    with pytest.raises(ModelError, match="has no class 'Flu'; choose one of Normal"):
        explain(model, image, "Flu")


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((100, 100), None),
        ((100, 80), "left and right (20% of"),
        ((75, 100), "above and below (25% of"),
    ],
)
def test_padding_is_described(shape: tuple[int, int], sentence: str | None) -> None:
    found = padding_sentence(np.zeros(shape, dtype=np.uint8))
    assert found is None if sentence is None else sentence in str(found)


def test_files_folders_and_zips_are_predicted_and_an_unreadable_file_is_a_row(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scans" / "deep"
    folder.mkdir(parents=True)
    image = sample_phantom("Normal", 1)
    Image.fromarray(image).save(folder / "a.png")
    (folder / "bad.png").write_bytes(b"no image")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(folder / "a.png", "x/a.png")
    rows = predict_files(
        load_classifier("phantom-cnn"),
        [folder.parent, tmp_path / "more.zip"],
        heat_maps=tmp_path / "maps",
    )
    assert len(rows) == 3
    sets = load_classifier("phantom-cnn").card.prediction_sets
    assert sets is not None
    assert rows[0]["prediction_set"] == [
        name for name, p in rows[0]["probabilities"].items() if p >= sets.thresholds[name]
    ]
    assert rows[0]["predicted"] == max(rows[0]["probabilities"], key=rows[0]["probabilities"].get)
    assert rows[1]["error"].startswith(f"cannot read {folder / 'bad.png'}")
    assert rows[2]["probabilities"] == rows[0]["probabilities"]
    model = load_classifier("phantom-cnn")
    heat = explain(model, image, rows[0]["predicted"]).heat
    drawn = np.asarray(Image.open(rows[0]["heat_map"]))
    assert np.array_equal(drawn, heat_overlay(image, heat, 0.6))
    assert {p.parent for p in tmp_path.rglob("*-a-*.png")} == {tmp_path / "maps"}


def test_sources_without_images_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no file or folder"):
        predict_files(load_classifier("phantom-cnn"), [tmp_path / "absent"])
    with pytest.raises(ImageError, match="holds no PNG, JPEG, TIFF or DICOM files"):
        predict_files(load_classifier("phantom-cnn"), [tmp_path])


def test_a_damaged_member_of_a_zip_is_a_row(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(sample_phantom("Normal", 1)).save(content, "PNG")
    with zipfile.ZipFile(tmp_path / "scans.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.png", "b.png"):
            archive.writestr(name, content.getvalue())
        start = archive.getinfo("a.png").header_offset + 30 + len("a.png")
    damaged = bytearray((tmp_path / "scans.zip").read_bytes())
    damaged[start : start + 40] = b"\xff" * 40
    (tmp_path / "scans.zip").write_bytes(damaged)
    first, second = predict_files(load_classifier("phantom-cnn"), [tmp_path / "scans.zip"])
    assert "cannot read a.png from the zip" in first["error"]
    assert "predicted" in second


def test_a_rejected_image_has_no_values_and_no_report(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    model = load_classifier("phantom-cnn")
    rows = predict_files(
        model, [tmp_path], heat_maps=tmp_path / "maps", table=tmp_path / "rows.csv"
    )
    assert [row["verdict"] for row in rows] == ["unreadable", "refused"]
    assert rows[1]["error"] == " ".join(model.predict(noise).rejections)
    assert "probabilities" not in rows[1]
    assert not (tmp_path / "maps").exists()
    assert ",refused,,,,,,,," in (tmp_path / "rows.csv").read_text("utf-8")
    with pytest.raises(ImageError, match=r"noise\.png was rejected: "):
        report_file(model, tmp_path / "noise.png", None, tmp_path / "report.pdf")
