"""The commands of datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import as_json, covidxr


def test_phantom_summary_and_split(tmp_path: Path) -> None:
    folder = tmp_path / "phantoms"
    assert as_json("phantom", folder, "--per-class", 20, "--size", 96)["images"] == 80
    found = as_json("dataset", "summary", "--data", folder)
    assert (found["n"], found["synthetic"], found["classes"]["COVID"]) == (80, True, 20)
    out = tmp_path / "split.csv"
    split = as_json("dataset", "split", "--data", folder, "--out", out, "--protocol", "stratified")
    assert split["counts"]["train"] == dict.fromkeys(found["classes"], 14)
    assert split["fingerprint"] in out.read_text().splitlines()[0]


@pytest.mark.slow
def test_unreadable_images_are_an_error_or_skipped(tmp_path: Path) -> None:
    as_json("phantom", tmp_path / "p", "--per-class", 20, "--size", 96)
    (tmp_path / "p/COVID/images/COVID-1.png").write_bytes(b"x" * 50)
    code, out, err = covidxr("dataset", "summary", "--data", tmp_path / "p")
    assert (code, out) == (2, "")
    assert err.startswith("error: COVID/images/COVID-1.png: cannot read")
    found = as_json("dataset", "summary", "--data", tmp_path / "p", "--skip-unreadable")
    assert [row["file"] for row in found["skipped"]] == ["COVID/images/COVID-1.png"]
    assert found["classes"]["COVID"] == 19
