"""Worklists."""

from __future__ import annotations

import csv
import io
import math
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidxr.cards import PredictionSets, SetMetrics
from covidxr.errors import DatasetError, ImageError
from covidxr.images.reading import read_image
from covidxr.prediction import worklist
from covidxr.prediction.cases import predict_files, sample_phantom
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.worklist import (
    Source,
    WorklistRow,
    list_images,
    predict_images,
    sort_worklist,
    worklist_csv,
)
from covidxr.records import Interval
from tests.images.test_dicom import dicom

pytestmark = pytest.mark.usefixtures("phantom_models")


def png(seed: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(sample_phantom("COVID", seed)).save(content, "PNG")
    return content.getvalue()


def predict_all(
    *sources: Source, watch: Callable[[int, int], None] = lambda done, n: None
) -> list[WorklistRow]:
    """Predict the images of some sources by the phantom model."""
    with ExitStack() as stack:
        images = list_images(sources, stack)
        return list(predict_images(load_classifier("phantom-cnn"), images, watch))


def test_an_image_in_a_batch_has_the_prediction_of_the_image_alone() -> None:
    uploads = [(f"{i}.png", png(i)) for i in range(11)]
    rows = predict_all(*uploads)
    assert [row.name for row in rows] == [name for name, _ in uploads]
    model = load_classifier("phantom-cnn")
    for row, (name, content) in zip(rows, uploads, strict=True):
        alone = model.predict(read_image(content, name))
        assert row.predicted == alone.predicted
        assert dict(row.probabilities) == pytest.approx(dict(alone.probabilities), abs=1e-5)


def test_unreadable_and_rejected_files_are_rows_without_values(
    tmp_path: Path,
) -> None:
    image = np.asarray(Image.open(io.BytesIO(png(1))).convert("L"))
    # Without suffix, as on a hospital's disc.
    (tmp_path / "IM0001").write_bytes(dicom(image, 8, ViewPosition="PA"))
    (tmp_path / "IM0002").write_bytes(dicom(image, 8, ViewPosition="LL"))
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "readme.txt").write_bytes(b"not listed")
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as archive:
        archive.writestr("a.png", png(1))
    rows = {Path(row.name).name: row for row in predict_all(tmp_path)}
    assert {name: row.verdict for name, row in rows.items()} == {
        "IM0001": "answered",
        "IM0002": "refused",
        "bad.png": "unreadable",
        "inner.zip": "unreadable",
    }
    assert "LL" in rows["IM0002"].rejections[0]
    assert rows["bad.png"].error.startswith("cannot read")
    _, analyzed, rejected, *_ = worklist_csv(rows.values(), ("COVID",)).splitlines()
    assert f"{rows['IM0001'].probabilities['COVID']:.6f}" in analyzed
    assert "IM0002,refused,,,,," in rejected
    printed = {
        Path(row["path"]).name: row
        for row in predict_files(load_classifier("phantom-cnn"), [tmp_path])
    }
    assert printed["IM0002"]["error"] == " ".join(rows["IM0002"].rejections)
    assert "probabilities" not in printed["IM0002"]


def test_uploaded_zips_are_opened_and_damaged_ones_rejected() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("deep/a.png", png(2))
    (row,) = predict_all(("scans.zip", content.getvalue()))
    assert (row.name, row.verdict) == ("scans.zip/deep/a.png", "answered")
    with pytest.raises(DatasetError, match=r"cannot open scans\.zip"):
        predict_all(("scans.zip", b"PK\3\4 and nothing else"))
    with pytest.raises(ImageError, match="there is no file or folder"):
        predict_all(Path("absent"))


def test_progress_is_reported_after_each_image() -> None:
    steps: list[tuple[int, int]] = []
    predict_all(
        *((str(i), png(0)) for i in range(3)), watch=lambda done, n: steps.append((done, n))
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_sorting_and_uncertainty_by_hand() -> None:
    certain = WorklistRow("certain", {"Normal": 0.0, "COVID": 1.0})
    unclear = WorklistRow("unclear", {"Normal": 0.5, "COVID": 0.5})
    healthy = WorklistRow("healthy", {"Normal": 0.9, "COVID": 0.1})
    unreadable = WorklistRow("unreadable", error="no")
    rejected = WorklistRow("rejected", {"Normal": 0.0, "COVID": 1.0}, rejections=("no",))
    assert [row.disease for row in (certain, unclear, unreadable)] == [1.0, 0.5, None]
    assert certain.uncertainty == 0.0
    assert unclear.uncertainty == pytest.approx(1.0)
    assert healthy.uncertainty == pytest.approx(-(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1)))
    rows = [unreadable, healthy, rejected, unclear, certain]
    assert [row.name for row in sort_worklist(rows, "disease")] == [
        "certain",
        "unclear",
        "healthy",
        "unreadable",
        "rejected",
    ]
    assert [row.name for row in sort_worklist(rows, "uncertainty")] == [
        "unclear",
        "healthy",
        "certain",
        "unreadable",
        "rejected",
    ]


def test_the_csv_has_prediction_sets_and_no_formulas() -> None:
    figures = SetMetrics(
        9, Interval(0.9, 0.8, 1.0), Interval(1.0, 1.0, 1.0), Interval(0.0, 0.0, 0.1)
    )
    sets = PredictionSets(0.9, {"Normal": 0.6, "COVID": 0.2}, figures, {})
    rows = [
        WorklistRow("=cmd|' /C calc'!A0.png", {"Normal": 0.7, "COVID": 0.3}),
        WorklistRow("-unclear.png", {"Normal": 0.81, "COVID": 0.19}),
        WorklistRow("none.png", {"Normal": 0.5, "COVID": 0.1}),
        WorklistRow("@side.png", {"Normal": 0.7, "COVID": 0.3}, rejections=("+lateral",)),
        WorklistRow("bad.png", error="=bad"),
    ]
    table = list(csv.DictReader(io.StringIO(worklist_csv(rows, ("Normal", "COVID"), sets))))
    assert [row["file"] for row in table] == [
        "'=cmd|' /C calc'!A0.png",
        "'-unclear.png",
        "none.png",
        "'@side.png",
        "bad.png",
    ]
    assert [row["prediction_set"] for row in table] == ["Normal;COVID", "Normal", "none", "", ""]
    assert [row["reason"] for row in table] == ["", "", "", "'+lateral", "'=bad"]
    plain = list(csv.DictReader(io.StringIO(worklist_csv(rows, ("Normal", "COVID")))))
    assert {row["prediction_set"] for row in plain} == {""}


@pytest.mark.slow
def test_a_thousand_images_need_constant_memory() -> None:
    model, content = load_classifier("phantom-cnn"), png(0)
    images = [worklist.ImageFile(str(i), lambda: content) for i in range(1000)]
    peaks = []
    tracemalloc.start()
    for i, _ in enumerate(predict_images(model, images)):
        # The peaks of the first part and of the rest.
        if i in (400, 999):
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
    tracemalloc.stop()
    # All images decoded would take 16 MB more; a batch takes about 20 MB.
    assert max(peaks) < 30e6
    assert peaks[1] < peaks[0] + 3e6


def test_a_file_name_that_is_not_unicode_is_a_row(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(sample_phantom("COVID")).save(content, "PNG")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(content.getvalue())
    (row,) = predict_files(load_classifier("phantom-cnn"), [tmp_path], table=tmp_path / "rows.csv")
    assert row["path"].endswith("caf\\udce9.png")
    assert "caf\\udce9.png,answered" in (tmp_path / "rows.csv").read_text("utf-8")
