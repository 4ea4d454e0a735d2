"""The usage log."""

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
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COVIDXR_LOG", raising=False)
    return tmp_path / "cache" / "log" / "uses.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_line_has_time_file_hash_model_and_result(path: Path) -> None:
    log.log_use(CARD, SHA256, "answered", "COVID")
    log.log_use(CARD, SHA256, "refused", "COVID")
    log.log_use(CARD, "", "unreadable")
    first, *others = lines(path)
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
    assert [(line["verdict"], line["predicted"]) for line in others] == [
        ("refused", None),
        ("unreadable", None),
    ]
    assert others[1]["input_sha256"] is None
    assert path.stat().st_mode & 0o077 == 0, "other users may read it"


@pytest.mark.parametrize(
    ("setting", "written"), [("off", False), (" OFF ", False), ("on", True), ("", True)]
)
def test_it_can_be_switched_off(
    path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, written: bool
) -> None:
    monkeypatch.setenv("COVIDXR_LOG", setting)
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert path.exists() == written
    assert path.parent.exists() == written


def write_many(name: str) -> None:
    for i in range(100):
        log.log_use(CARD, f"{name}-{i}", "answered", "COVID")


def test_concurrent_processes_lose_and_break_no_line_while_the_file_is_rotated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 800 lines need more, but less than twice as much.
    monkeypatch.setattr(log, "_MAX_BYTES", 150_000)
    monkeypatch.setattr(log, "_LOCK_SECONDS", 60.0)
    replace = os.replace

    def slowly(old: Path, new: Path) -> None:
        # The other processes wait.
        time.sleep(0.3)
        replace(old, new)

    monkeypatch.setattr(os, "replace", slowly)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_many, args=(f"p{i}",)) for i in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    older = path.with_name("uses.1.jsonl")
    found = [line["input_sha256"] for line in lines(older) + lines(path)]
    assert sorted(found) == sorted(f"p{i}-{j}" for i in range(8) for j in range(100))
    assert older.stat().st_size <= 150_000


def test_at_most_two_files_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_MAX_BYTES", 1000)
    write_many("one")
    files = {
        file.name: file.stat().st_size for file in path.parent.iterdir() if file.suffix == ".jsonl"
    }
    assert set(files) == {"uses.jsonl", "uses.1.jsonl"}
    assert max(files.values()) <= 1000
    assert lines(path)[-1]["input_sha256"] == "one-99"


def test_a_write_error_is_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("no folder")
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert "cannot write the usage log" in caplog.text
    path.parent.unlink()
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    caplog.clear()
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert "No space left" in caplog.text


def write_beyond_the_limit(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, resource.RLIM_INFINITY))
    log.log_use(CARD, SHA256, "answered", "COVID")


def test_a_full_disk_leaves_no_partial_line(path: Path) -> None:
    log.log_use(CARD, SHA256, "answered", "COVID")
    process = multiprocessing.get_context("fork").Process(
        target=write_beyond_the_limit, args=(path,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    log.log_use(CARD, SHA256, "answered", "COVID")
    assert len(lines(path)) == 2


def test_commands_log_each_image_without_file_names(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Meier"
    folder.mkdir()
    image = np.asarray(sample_phantom("COVID"))
    Image.fromarray(image).save(folder / "anna.png")
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "side.dcm").write_bytes(dicom(image, 8, ViewPosition="LL", PatientName="Meier^Anna"))
    rows = predict_files(load_classifier("phantom-cnn"), [folder])
    shas = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())]
    expected = list(zip(shas, ("answered", "unreadable", "refused"), strict=True))
    found = lines(path)
    assert [(line["input_sha256"], line["verdict"]) for line in found] == expected
    assert found[0]["predicted"] == rows[0]["predicted"]

    report_file(load_classifier("phantom-cnn"), folder / "anna.png", None, tmp_path / "a.pdf")
    for name in ("bad.png", "side.dcm"):
        with pytest.raises(ImageError):
            report_file(load_classifier("phantom-cnn"), folder / name, None, tmp_path / "a.pdf")
    assert [(line["input_sha256"], line["verdict"]) for line in lines(path)[3:]] == expected
    assert "anna" not in path.read_text("utf-8").lower()
    assert "meier" not in path.read_text("utf-8").lower()
