"""The commands dataset import, dataset fetch and evaluate --external."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from covidxr.cli import app, main
from covidxr.datasets.opening import open_dataset
from covidxr.records import CLASS_NAMES

RUNNER = CliRunner()
FOLDERS = {
    "NORMAL": "Normal",
    "covid-19": "COVID",
    "pneumonia": "Viral Pneumonia",
    "Opacity": "Lung_Opacity",
}


@pytest.fixture(autouse=True)
def _own_folders(
    phantom_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "COVIDXR_WEIGHTS", str(shutil.copytree(phantom_model_folder, tmp_path / "weights"))
    )
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def clinic(phantoms: Path, tmp_path: Path) -> Path:
    """Six images of each class, with their own labels."""
    for label, class_name in FOLDERS.items():
        (tmp_path / "clinic" / label).mkdir(parents=True)
        for n in range(1, 7):
            file = phantoms / class_name / "images" / f"{class_name}-{n}.png"
            shutil.copy(file, tmp_path / "clinic" / label)
    return tmp_path / "clinic"


def as_json(*words: object) -> dict[str, Any]:
    """Run the command in this process with --json and return its one object."""
    result = RUNNER.invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def as_text(*words: object) -> str:
    """Run the command in this process and return its text output."""
    return RUNNER.invoke(
        app, [*map(str, words)], catch_exceptions=False, env={"COLUMNS": "200"}
    ).stdout


def error_of(
    words: Sequence[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run the command as in a process and return its error."""
    monkeypatch.setattr(sys, "argv", ["covidxr", *map(str, words), "--json"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    return str(json.loads(capsys.readouterr().out)["error"])


def stub_kagglehub(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module kagglehub on the path that downloads a dataset by `body`."""
    folder.mkdir()
    (folder / "kagglehub.py").write_text(
        f"def dataset_download(handle):\n    print('downloading', handle)\n    {body}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "kagglehub", raising=False)


def test_unambiguous_labels_are_mapped_and_the_rest_is_excluded(clinic: Path) -> None:
    found = as_json("dataset", "import", clinic, "--name", "clinic")
    assert found["labels"] == {"NORMAL": "Normal", "covid-19": "COVID", "Opacity": "Lung_Opacity"}
    assert (found["n"], found["left_out"], found["copy"]) == (18, {"pneumonia": 6}, None)
    assert found["classes"] == {"Normal": 6, "COVID": 6, "Viral Pneumonia": 0, "Lung_Opacity": 6}
    assert found["fingerprint"] == open_dataset("clinic").fingerprint
    table = as_text("dataset", "import", clinic, "--name", "clinic")
    assert "excluded" in table
    assert "no images of Viral pneumonia: for external evaluation only" in table
    summary = as_json("dataset", "summary", "--data", "clinic")
    assert (summary["n"], summary["sources"]["COVID"]) == (18, {"clinic": 6})


def test_given_labels_are_the_only_ones_and_a_copy_has_the_original_layout(
    clinic: Path, tmp_path: Path
) -> None:
    words = [f"--label={label}={class_name}" for label, class_name in FOLDERS.items()]
    found = as_json(
        "dataset", "import", clinic, "--name", "all", *words, "--copy", tmp_path / "copy"
    )
    assert (found["labels"], found["left_out"]) == (FOLDERS, {})
    assert open_dataset(tmp_path / "copy").class_counts() == dict.fromkeys(CLASS_NAMES, 6)
    one = as_json(
        "dataset", "import", clinic, "--name", "one", "--label", "pneumonia=Viral Pneumonia"
    )
    assert (one["n"], sum(one["left_out"].values())) == (6, 18)


def test_a_model_is_evaluated_on_an_import(clinic: Path) -> None:
    as_json("dataset", "import", clinic, "--name", "clinic")
    found = as_json("evaluate", "phantom-cnn", "--external", "clinic", "--prevalence", "COVID=0.02")
    assert (found["external"], found["n"], found["left_out"], found["model_id"]) == (
        "clinic",
        18,
        6,
        "phantom-cnn",
    )
    assert found["per_class"]["COVID"]["prevalence"] == 0.02
    table = as_text("evaluate", "phantom-cnn", "--external", "clinic", "--name", "again")
    assert "external evaluation again (6 images skipped), n = 18" in table
    assert "macro-F1" in table


def test_an_evaluation_of_a_folder_with_spaces_has_a_plain_name(
    phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "our own clinic"
    for name in CLASS_NAMES:
        (folder / name / "images").mkdir(parents=True)
        shutil.copy(phantoms / name / "images" / f"{name}-3.png", folder / name / "images")
    assert as_json("evaluate", "phantom-cnn", "--external", folder)["external"] == "our-own-clinic"


def test_errors_are_sentences(
    clinic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    vague = tmp_path / "vague"
    shutil.copytree(clinic / "pneumonia", vague / "pneumonia")
    take: list[object] = ["dataset", "import", clinic, "--name", "x"]
    for words, sentence in (
        (
            ["dataset", "import", vague, "--name", "x"],
            "it has pneumonia. Map at least one with --label LABEL=CLASS",
        ),
        (
            [*take, "--label", "NORMAL"],
            "expected --label LABEL=CLASS, such as healthy=Normal, got 'NORMAL'",
        ),
        ([*take, "--label", "NORMAL=Flu"], "'NORMAL' is mapped to the unknown class 'Flu'"),
        (
            [*take, "--label", "absent=COVID"],
            "has no label 'absent'; its labels are NORMAL, Opacity, covid-19",
        ),
        (
            ["dataset", "import", clinic, "--name", "../x"],
            "'../x' is not a valid name of an import",
        ),
        ([*take, "--copy", clinic], "exists already; name a new folder"),
        (["dataset", "import", tmp_path / "absent", "--name", "x"], "there is no folder or zip"),
        (
            ["evaluate", "phantom-cnn", "--external", clinic, "--data", clinic],
            "drop --data and --split",
        ),
        (
            ["evaluate", "phantom-cnn", "--external", clinic, "--split", "val"],
            "drop --data and --split",
        ),
        (["evaluate", "phantom-cnn", "--name", "x"], "add --external DATASET or drop it"),
        (["evaluate", "phantom-cnn", "--external", "absent"], "there is no folder or zip absent"),
    ):
        assert sentence in error_of(words, monkeypatch, capsys)


def test_fetch_without_kagglehub_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    sentence = error_of(["dataset", "fetch"], monkeypatch, capsys)
    assert 'kagglehub is not installed: pip install "covidxr[fetch]"' in sentence
    assert "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database" in sentence


def test_fetch_without_a_connection_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_kagglehub(
        tmp_path / "stub", "raise ConnectionError('Name or service not known')", monkeypatch
    )
    sentence = error_of(["dataset", "fetch"], monkeypatch, capsys)
    assert sentence.startswith(
        "the database could not be downloaded (Name or service not known): check the connection"
    )
    assert "download the zip from https://www.kaggle.com/datasets/tawsifurrahman" in sentence


def test_fetch_checks_the_download(
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub_kagglehub(tmp_path / "stub", f"return {str(phantoms)!r}", monkeypatch)
    sentence = error_of(["dataset", "fetch", "--to", tmp_path / "db"], monkeypatch, capsys)
    assert (
        f"the download in {phantoms} is not the published database: 40 of 10,192 Normal" in sentence
    )
    assert "40 of 6,012 Lung_Opacity images" in sentence
    assert not (tmp_path / "db").exists()
    monkeypatch.setattr("covidxr.datasets.dataset.PUBLISHED_COUNTS", dict.fromkeys(CLASS_NAMES, 40))
    # The output of kagglehub is not on stdout.
    found = as_json("dataset", "fetch", "--to", tmp_path / "db")
    assert found == {"folder": str(tmp_path / "db"), "classes": dict.fromkeys(CLASS_NAMES, 40)}
    assert open_dataset(tmp_path / "db").fingerprint == open_dataset(phantoms).fingerprint
    assert as_json("dataset", "fetch")["folder"] == str(phantoms)
    assert "already exists; choose a new folder" in error_of(
        ["dataset", "fetch", "--to", tmp_path / "db"], monkeypatch, capsys
    )
