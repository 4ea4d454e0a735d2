from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.errors import DatasetError


def test_fingerprint_follows_names_and_lengths_and_state_follows_every_write(
    database_like: Path,
) -> None:
    before = open_dataset(database_like)
    file = database_like / "COVID/images/COVID-1.png"
    content = file.read_bytes()
    file.write_bytes(bytes([content[0], *content[1:-1], content[-1] ^ 1]))
    after = open_dataset(database_like)
    assert after.fingerprint == before.fingerprint
    assert after.state != before.state
    file.rename(file.with_name("COVID-3.png"))
    assert open_dataset(database_like).fingerprint != before.fingerprint


def test_without_lists_the_skipped_files(database_like: Path) -> None:
    dataset = open_dataset(database_like).without([("COVID/images/COVID-1.png", "damaged")])
    assert dataset.class_counts()["COVID"] == 2
    assert dataset.skipped == (("COVID/images/COVID-1.png", "damaged"),)


@pytest.mark.parametrize("file", ["../secret.png", "/etc/hostname", "Normal/../../secret.png"])
def test_files_outside_the_folder_are_not_read(database_like: Path, file: str) -> None:
    (database_like.parent / "secret.png").write_bytes(b"secret")
    with pytest.raises(DatasetError, match="is not inside"):
        open_dataset(database_like).read(file)
