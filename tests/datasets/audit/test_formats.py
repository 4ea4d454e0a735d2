from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from covidxr.datasets.audit import facts
from covidxr.datasets.audit.facts import count_kinds
from covidxr.datasets.opening import open_dataset


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
    assert count_kinds(open_dataset(data)) == Counter(expected)

    with monkeypatch.context() as patch:
        patch.setattr(facts, "_kind", lambda *_: pytest.fail("read again"))
        assert count_kinds(open_dataset(data)) == Counter(expected)
    Image.new("L", (50, 50)).save(images / "COVID-3.png")
    assert count_kinds(open_dataset(data))[50, 50, "PNG", "L"] == 1


def test_a_dicom_file_is_counted_by_its_size(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    content = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    assert facts._kind(content) == (128, 128, "DICOM", "L")
