from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.datasets.exclusions import read_exclusions, write_exclusions
from covidxr.errors import DatasetError


def test_a_written_list_is_read_back(tmp_path: Path) -> None:
    listed = (
        ("COVID/images/COVID-1.png", "blank"),
        ("Normal/images/Normal 2.png", 'said "negative", kept: none'),
        ("ä.png", ""),
    )
    write_exclusions(tmp_path / "out.csv", listed)
    assert read_exclusions(tmp_path / "out.csv") == listed
    write_exclusions(tmp_path / "none.csv", ())
    assert read_exclusions(tmp_path / "none.csv") == ()


def test_a_list_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbffile,reason,seen by\r\na.png,blank,me\r\n")
    assert read_exclusions(tmp_path / "list.csv") == (("a.png", "blank"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,why\na.png,blank\n", "must have the columns file and reason, got name, why"),
        ("file\na.png\n", "must have the columns file and reason, got file"),
        ("file,reason\n,blank\n", "has a row without a file"),
        ("file,reason\na.png,blank\na.png,dark\n", "names a file twice"),
    ],
)
def test_a_list_without_file_or_reason_is_rejected(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "list.csv").write_text(text, "utf-8")
    with pytest.raises(DatasetError, match=sentence):
        read_exclusions(tmp_path / "list.csv")


def test_a_missing_or_binary_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read the exclusion list"):
        read_exclusions(tmp_path / "nowhere.csv")
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DatasetError, match="cannot read the exclusion list"):
        read_exclusions(tmp_path / "image.csv")
