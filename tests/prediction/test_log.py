"""The log of uses."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from covidxr.cards import ModelCard
from covidxr.errors import ImageError
from covidxr.models.store import read_card
from covidxr.prediction import log
from covidxr.prediction.cases import predict_files, sample_phantom
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.report import report_file
from tests.images.test_dicom import dicom

pytestmark = pytest.mark.usefixtures("phantom_models")

SHA256 = "0123456789abcdef" * 4
CARD: ModelCard = read_card(Path(__file__).resolve().parents[2] / "weights" / "poster-cnn")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COVIDXR_LOG", raising=False)
    return tmp_path / "cache" / "log" / "uses.jsonl"


def lines(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.read_text("utf-8").splitlines()]


def test_a_line_says_when_which_file_which_model_and_what(place: Path) -> None:
    log.log_use(CARD, SHA256, "answered", "COVID")
    log.log_use(CARD, SHA256, "refused", "COVID")
    log.log_use(CARD, "", "unreadable")
    first, *others = lines(place)
    assert abs(datetime.fromisoformat(first.pop("time")) - datetime.now(UTC)) < timedelta(
        seconds=30
    )
    assert first == {
        "input_sha256": SHA256,
        "model_id": "poster-cnn",
        "weights_sha256": CARD.weights_sha256,
        "verdict": "answered",
        "predicted": "COVID",
    }
    assert [(one["verdict"], one["predicted"]) for one in others] == [
        ("refused", None),
        ("unreadable", None),
    ]
    assert others[1]["input_sha256"] is None
    assert place.stat().st_mode & 0o077 == 0, "others may read it"


@pytest.mark.parametrize(
    ("said", "written"), [("off", False), (" OFF ", False), ("on", True), ("", True)]
)
def test_it_can_be_switched_off(
    place: Path, monkeypatch: pytest.MonkeyPatch, said: str, written: bool
) -> None:
    monkeypatch.setenv("COVIDXR_LOG", said)
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert place.exists() == written
    assert place.parent.exists() == written


def write_many(name: str) -> None:
    for i in range(100):
        log.log_use(CARD, f"{name}-{i}", "answered", "COVID")


def test_many_at_once_tear_and_lose_no_line_while_the_file_is_changed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        log, "_MOST_BYTES", 150_000
    )  # 800 lines are more than that and less than twice
    monkeypatch.setattr(log, "_PATIENCE", 60.0)
    replace = os.replace

    def hesitate(old: Path, new: Path) -> None:
        time.sleep(0.3)  # the others are at the door
        replace(old, new)

    monkeypatch.setattr(log.os, "replace", hesitate)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_many, args=(f"p{i}",)) for i in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    older = place.with_name("uses.1.jsonl")
    found = [line["input_sha256"] for line in lines(older) + lines(place)]
    assert sorted(found) == sorted(f"p{i}-{j}" for i in range(8) for j in range(100))
    assert older.stat().st_size <= 150_000


def test_no_more_than_two_files_are_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_MOST_BYTES", 1000)
    write_many("one")
    files = {
        file.name: file.stat().st_size for file in place.parent.iterdir() if file.suffix == ".jsonl"
    }
    assert set(files) == {"uses.jsonl", "uses.1.jsonl"}
    assert max(files.values()) <= 1000
    assert lines(place)[-1]["input_sha256"] == "one-99"


def test_what_cannot_be_written_is_a_warning(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    place.parent.parent.mkdir(parents=True)
    place.parent.write_text("no folder")
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert "cannot be written" in caplog.text
    place.parent.unlink()
    place.parent.mkdir()
    place.symlink_to("/dev/full")
    caplog.clear()
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert "No space left" in caplog.text


def write_beyond_the_limit(place: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (place.stat().st_size + 20, resource.RLIM_INFINITY))
    log.log_use(CARD, SHA256, "answered", "COVID")


def test_a_disk_that_fills_up_leaves_no_half_line(place: Path) -> None:
    log.log_use(CARD, SHA256, "answered", "COVID")
    process = multiprocessing.get_context("fork").Process(
        target=write_beyond_the_limit, args=(place,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert len(lines(place)) == 2


def test_commands_log_each_picture_and_name_no_file(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Meier"
    folder.mkdir()
    image = np.asarray(sample_phantom("COVID"))
    Image.fromarray(image).save(folder / "anna.png")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "side.dcm").write_bytes(dicom(image, 8, ViewPosition="LL", PatientName="Meier^Anna"))
    rows = predict_files(load_classifier("phantom-cnn"), [folder])
    shas = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())]
    expected = list(zip(shas, ("answered", "unreadable", "refused"), strict=True))
    found = lines(place)
    assert [(one["input_sha256"], one["verdict"]) for one in found] == expected
    assert found[0]["predicted"] == rows[0]["predicted"]

    report_file(load_classifier("phantom-cnn"), folder / "anna.png", None, tmp_path / "a.pdf")
    for name in ("bad.png", "side.dcm"):
        with pytest.raises(ImageError):
            report_file(load_classifier("phantom-cnn"), folder / name, None, tmp_path / "a.pdf")
    assert [(one["input_sha256"], one["verdict"]) for one in lines(place)[3:]] == expected
    assert "anna" not in place.read_text("utf-8").lower()
    assert "meier" not in place.read_text("utf-8").lower()
