"""The opening of the database as downloaded, as a folder or a zip."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from covidxr.datasets.opening import open_dataset
from covidxr.errors import DatasetError
from covidxr.records import CLASS_NAMES


def zipped(root: Path, inside: str, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in root.rglob("*"):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(root).as_posix()}")
        archive.writestr("__MACOSX/COVID/images/._COVID-1.png", b"resource fork")
    return target


def test_samples_are_sorted_by_class_then_by_number(database_like: Path) -> None:
    dataset = open_dataset(database_like)
    assert [s.file for s in dataset.samples][:4] == [
        "Normal/images/Normal-1.png",
        "Normal/images/Normal-2.png",
        "Normal/images/Normal-10.JPG",
        "COVID/images/COVID-1.png",
    ]
    assert dataset.class_counts() == dict.fromkeys(CLASS_NAMES, 3)
    assert [s.file for s in dataset.samples if s.mask] == ["COVID/images/COVID-1.png"]
    assert dataset.name == "COVID-19_Radiography_Dataset"
    assert not dataset.synthetic


@pytest.mark.parametrize(
    "inside", ["", "COVID-19_Radiography_Dataset/", "archive/COVID-19_Radiography_Dataset/"]
)
def test_a_zip_is_the_same_dataset(database_like: Path, tmp_path: Path, inside: str) -> None:
    folder, archive = (
        open_dataset(database_like),
        open_dataset(zipped(database_like, inside, tmp_path / "db.zip")),
    )
    assert [s.file for s in archive.samples] == [s.file for s in folder.samples]
    assert archive.fingerprint == folder.fingerprint
    file = "Viral Pneumonia/images/Viral Pneumonia-2.png"
    assert archive.read(file) == folder.read(file)


def test_the_parent_folder_can_be_opened(database_like: Path) -> None:
    assert open_dataset(database_like.parent).fingerprint == open_dataset(database_like).fingerprint


def test_sources_are_read_from_metadata_sheets(database_like: Path) -> None:
    url = "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data"
    table = pd.DataFrame(
        {
            "FILE NAME": ["NORMAL-1", "NORMAL-2"],
            "FORMAT": "PNG",
            "SIZE": "256*256",
            "URL": [url, None],
        }
    )
    table.to_excel(database_like / "Normal.metadata.xlsx", index=False)
    url = "https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia"
    pd.DataFrame({"FILE NAME": ["Viral Pneumonia-10"], "URL": [url]}).to_excel(
        database_like / "Viral Pneumonia.metadata.xlsx", index=False
    )
    sources = open_dataset(database_like).sources()
    assert sources["Normal"] == {"rsna": 1, "unknown": 2}
    assert sources["Viral Pneumonia"] == {"kermany": 1, "unknown": 2}
    assert sources["COVID"] == {"unknown": 3}


def test_sources_csv_takes_precedence_and_names_patients(database_like: Path) -> None:
    (database_like / "sources.csv").write_text(
        "file,source,patient_id\nCOVID/images/COVID-1.png,clinic,p7\nCOVID/images/COVID-2.png,,\n"
    )
    samples = {s.file: s for s in open_dataset(database_like).samples}
    assert (
        samples["COVID/images/COVID-1.png"].source,
        samples["COVID/images/COVID-1.png"].patient_id,
    ) == ("clinic", "p7")
    assert (
        samples["COVID/images/COVID-2.png"].source,
        samples["COVID/images/COVID-2.png"].patient_id,
    ) == (None, None)


def remove_classes(root: Path) -> None:
    for name in CLASS_NAMES:
        shutil.rmtree(root / name)


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (
            lambda root: shutil.rmtree(root / "COVID"),
            "has no images of COVID: expected PNG or JPEG",
        ),
        (lambda root: shutil.rmtree(root), "there is no folder or zip .*check the path"),
        (
            remove_classes,
            "is not a COVID-19 Radiography Database: found none of the folders Normal/images",
        ),
        (
            lambda root: (root / "sources.csv").write_text("a,b\n1,2\n"),
            "sources.csv must have the columns file, source, patient_id",
        ),
        (
            lambda root: (root / "COVID.metadata.xlsx").write_bytes(b"no sheet"),
            "cannot read COVID.metadata.xlsx",
        ),
    ],
    ids=["class", "path", "folder", "sources", "sheet"],
)
def test_a_wrong_dataset_is_rejected_by_name(
    database_like: Path, break_it: Callable[[Path], object], sentence: str
) -> None:
    break_it(database_like)
    with pytest.raises(DatasetError, match=sentence):
        open_dataset(database_like)


def test_a_file_that_is_no_zip_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "db.zip").write_text("not a zip")
    with pytest.raises(DatasetError, match=r"cannot open .*db.zip"):
        open_dataset(tmp_path / "db.zip")


@pytest.mark.data
def test_the_development_copy_has_the_counts_its_readme_gives(database: Path) -> None:
    dataset = open_dataset(database)
    assert dataset.class_counts() == {
        "Normal": 10_192,
        "COVID": 3_616,
        "Viral Pneumonia": 1_345,
        "Lung_Opacity": 1_064,
    }
    assert dataset.sources()["Lung_Opacity"] == {"rsna": 1_064}
    assert sum(s.mask is not None for s in dataset.samples) == 4_385
