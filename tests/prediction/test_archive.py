"""Archives predicted by Ray: the content of shards, and one row per image despite kills."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from PIL import Image
from typer.testing import CliRunner

from covidxr.cli import app
from covidxr.config import weights_folder
from covidxr.errors import ConfigError, CovidxrError, ImageError, ModelError
from covidxr.models import store
from covidxr.prediction import archive
from covidxr.prediction.archive import _Predictor, _Worker, predict_archive
from covidxr.prediction.archive_listing import list_archive
from covidxr.prediction.cases import sample_phantom
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.worklist import WorklistRow
from covidxr.records import CLASS_NAMES, RESEARCH_ONLY
from tests.images.test_dicom import dicom
from tests.prediction.test_worklist import predict_all

pytestmark = pytest.mark.usefixtures("phantom_models")

REPOSITORY = Path(__file__).resolve().parents[2]
NUMBERS = (*CLASS_NAMES, "disease", "uncertainty")
TOLERANCE = 1e-6
"""Of probabilities: rounding depends on the composition of batches."""


def png(seed: int, edge: int = 256) -> bytes:
    content = io.BytesIO()
    Image.fromarray(sample_phantom("COVID", seed)).resize((edge, edge)).save(
        content, "PNG", compress_level=1
    )
    return content.getvalue()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of 20 images, DICOM files without suffix, a damaged file, a zip and other files."""
    folder = tmp_path / "mixed"
    (folder / "deep" / "er").mkdir(parents=True)
    for seed in range(20):
        (folder / ("deep/er" if seed % 2 else ".") / f"{seed}.png").write_bytes(png(seed))
    gray = np.asarray(Image.open(io.BytesIO(png(1))).convert("L"))
    (folder / "deep" / "IM0001").write_bytes(dicom(gray, 8, ViewPosition="PA"))
    (folder / "deep" / "IM0002").write_bytes(dicom(gray, 8, ViewPosition="LL"))
    (folder / "bad.png").write_bytes(b"no image")
    with zipfile.ZipFile(folder / "inner.zip", "w") as packed:
        packed.writestr("a.png", png(1))
    for name in ("readme.txt", ".hidden.png", "deep/DICOMDIR"):
        (folder / name).write_bytes(b"\0" * 128 + b"DICM" if name.endswith("DIR") else png(1)[:100])
    (folder / "readme.txt").write_text("nothing")
    return folder


def predictor(
    folder: Path, out: Path, files: AbstractFileSystem | None = None, shard: int = 7
) -> _Predictor:
    """Write the listing and return what a worker is given."""
    files = files or LocalFileSystem()
    model = load_classifier("phantom-cnn")
    list_archive(files, str(folder), str(folder), model.card, out, shard)
    return _Predictor("phantom-cnn", weights_folder(), files, str(folder), str(folder), out)


def write_all(own: _Predictor) -> pd.DataFrame:
    for number in range(pq.ParquetFile(own.out / "_listing.parquet").num_row_groups):
        own.write(number)
    return pd.read_parquet(own.out)


def plain(folder: Path) -> dict[str, WorklistRow]:
    return {row.name: row for row in predict_all(folder)}


def assert_same(
    rows: pd.DataFrame,
    expected: dict[str, WorklistRow],
    rename: Callable[[str], str] = lambda name: name,
) -> None:
    """Assert one row per image, with the result of the plain command."""
    assert sorted(map(rename, rows["file"])) == sorted(expected)
    for row in rows.to_dict("records"):
        own = expected[rename(row["file"])]
        assert (row["verdict"], list(row["warnings"])) == (own.verdict, list(own.warnings))
        if own.verdict == "answered":
            assert row["predicted"] == own.predicted
            numbers = [*own.probabilities.values(), own.disease, own.uncertainty]
            assert [row[name] for name in NUMBERS] == pytest.approx(numbers, abs=TOLERANCE)
        else:
            assert rename(row["reason"]) == (own.error or " ".join(own.rejections))
            assert pd.isna([row[name] for name in ("predicted", *NUMBERS)]).all()


def count(rows: Iterable[WorklistRow]) -> dict[str, int]:
    return {"answered": 0, "refused": 0, "unreadable": 0} | Counter(row.verdict for row in rows)


def test_the_rows_of_all_shards_equal_those_of_the_plain_command(
    mixed: Path, tmp_path: Path
) -> None:
    rows = write_all(predictor(mixed, tmp_path / "out"))
    assert_same(rows, plain(mixed))
    verdicts = {
        Path(name).name: verdict
        for name, verdict in zip(rows["file"], rows["verdict"], strict=True)
    }
    assert len(verdicts) == 24
    assert [verdicts[name] for name in ("IM0001", "IM0002", "bad.png", "inner.zip")] == [
        "answered", "refused", "unreadable", "unreadable",
    ]  # fmt: skip
    schema = pq.read_schema(tmp_path / "out" / "part-000000.parquet")
    types = {
        "file": "string",
        "COVID": "double",
        "uncertainty": "double",
        "prediction_set": "list<element: string>",
        "reason": "string",
        "warnings": "list<element: string>",
    }
    assert {name: str(schema.field(name).type) for name in types} == types
    sets = store.read_card(weights_folder() / "phantom-cnn").prediction_sets
    assert sets is not None
    for i, verdict in enumerate(rows["verdict"]):
        own = (
            [name for name in CLASS_NAMES if rows[name][i] >= sets.thresholds[name]]
            if verdict == "answered"
            else None
        )
        found = rows["prediction_set"][i]
        assert (None if found is None else list(found)) == own
    assert schema.metadata[b"covidxr.note"].decode() == RESEARCH_ONLY
    assert schema.metadata[b"covidxr.model_id"] == b"phantom-cnn"


def test_the_listing_is_sorted_and_has_a_row_group_per_shard(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    for name in (
        "b.png",
        "a.png",
        "c/2.png",
        "c/1.png",
        "c/d/e/f/g/h/deep.png",
        ".hidden",
        "c-d.png",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1234"[: len(name) % 4])
    (folder / "circle").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "absent")
    (folder / "link.png").symlink_to(folder / "c/1.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes(png(3))
    out = tmp_path / "out"
    own = predictor(folder, out, shard=3)
    listing = pq.ParquetFile(out / "_listing.parquet")
    assert [listing.metadata.row_group(i).num_rows for i in range(listing.num_row_groups)] == [
        3,
        3,
        2,
    ]
    table = listing.read().to_pydict()
    names = [
        b"a.png",
        b"b.png",
        b"c-d.png",
        b"caf\xe9.png",
        b"link.png",
        b"c/1.png",
        b"c/2.png",
        b"c/d/e/f/g/h/deep.png",
    ]
    assert table["file"] == names
    assert table["bytes"] == [os.stat(os.fsencode(folder) + b"/" + name).st_size for name in names]
    assert json.loads((out / "_manifest.json").read_text())["files"] == 8
    rows = write_all(own)
    assert rows.set_index("file")["verdict"].to_dict()[f"{folder}/caf\\udce9.png"] == "answered"


def test_a_folder_has_the_rows_of_one_archive_and_model(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    own = predictor(mixed, out)
    first = (out / "_listing.parquet").read_bytes()
    # Nothing has changed.
    predictor(mixed, out)
    (mixed / "0.png").write_bytes(png(99))
    with pytest.raises(
        ConfigError, match=r"another archive.*listing_sha256\); choose a new folder"
    ):
        predictor(mixed, out)
    assert (out / "_listing.parquet").read_bytes() == first
    assert not list(out.glob(".*.tmp"))
    with pytest.raises(ConfigError, match="different: shard,"):
        predictor(mixed, out, shard=8)
    (out / "_manifest.json").write_text(
        (out / "_manifest.json").read_text().replace('"card_sha256": "', '"card_sha256": "0')
    )
    (error,) = _Worker(own)({"shard": [0]})["error"]
    assert "another phantom-cnn" in error
    (out / "_manifest.json").write_text("{")
    with pytest.raises(ConfigError, match="is not valid JSON"):
        predictor(mixed, out)
    (out / "_manifest.json").unlink()
    # As after a kill before the manifest was written.
    predictor(mixed, out)
    with pytest.raises(ConfigError, match="holds other files"):
        predictor(mixed, tmp_path)
    with pytest.raises(ConfigError, match="is inside the archive"):
        predictor(mixed, mixed / "rows")
    (out / "part-000000.parquet").write_bytes(b"PAR1 and nothing else")
    monkeypatch.setattr(archive, "SHARD", 7)
    with pytest.raises(ConfigError, match=r"part-000000\.parquet is damaged"):
        predict_archive("phantom-cnn", str(mixed), out)


def test_a_written_shard_is_kept_and_errors_of_a_worker_are_returned(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = predictor(mixed, tmp_path / "out")
    (tmp_path / "out" / "part-000000.parquet").write_bytes(b"written")
    assert own.write(0) == 7
    assert (tmp_path / "out" / "part-000000.parquet").read_bytes() == b"written"

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(archive, "write_bytes", full)
    result = _Worker(own)({"shard": [1]})
    assert result["files"] == [0]
    assert "No space left" in result["error"][0]
    shutil.copytree(own.weights / "phantom-cnn", tmp_path / "weights" / "phantom-cnn")
    (tmp_path / "weights" / "phantom-cnn" / "model.safetensors").write_bytes(b"damaged")
    (sentence,) = _Worker(replace(own, weights=tmp_path / "weights"))({"shard": [1]})["error"]
    with pytest.raises(ModelError) as caught:
        load_classifier("phantom-cnn", tmp_path / "weights")
    assert sentence == str(caught.value)


class _Flaky(LocalFileSystem):  # type: ignore[misc]
    """Each file is read at the third attempt, two never, and one is too large."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: dict[str, int] = {}

    def info(self, path: Any, **options: Any) -> dict[str, Any]:
        entry: dict[str, Any] = super().info(path, **options)
        return entry | {
            "size": 10**9
            if entry["name"].endswith("/2.png")
            else None
            if "/4" in entry["name"]
            else entry["size"]
        }

    def open(self, path: str, *words: Any, **options: Any) -> Any:
        self.attempts[path] = self.attempts.get(path, 0) + 1
        if self.attempts[path] < 3 or path.endswith(("/0.png", "/IM0")):
            raise ValueError("connection lost")
        return super().open(path, *words, **options)


def test_a_file_that_cannot_be_fetched_is_retried_then_a_row_with_the_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(5):
        (tmp_path / "in" / f"{seed}.png").write_bytes(png(seed))
    # Without suffix and unreadable: it may be an image.
    (tmp_path / "in" / "IM0").write_bytes(png(5))
    files = _Flaky()
    rows = write_all(predictor(tmp_path / "in", tmp_path / "out", files)).set_index("file")
    reasons = {
        Path(str(name)).name: row["reason"]
        for name, row in rows.iterrows()
        if row["verdict"] == "unreadable"
    }
    assert reasons == {
        "0.png": "cannot read 0.png: connection lost",
        "IM0": "cannot read IM0: connection lost",
        "2.png": "2.png has 1,000,000,000 bytes, more than the limit of 200,000,000",
    }
    attempts = {Path(path).name: count for path, count in files.attempts.items()}
    assert attempts == {"0.png": 3, "1.png": 3, "3.png": 3, "4.png": 3, "IM0": 4}


@pytest.mark.parametrize(
    ("source", "kind", "sentence"),
    [
        ("absent", ImageError, "absent is not a folder that can be listed"),
        ("zip://*::scans.zip", ImageError, "predict a file without --engine ray"),
        ("s4://bucket/scans", ConfigError, "cannot open s4://bucket/scans: Protocol not known"),
        ("oci://bucket/scans", ConfigError, "(?i)install"),
        ("ftp://me:secret@host/scans", ConfigError, "contains a password"),
        ("https://secret@host/scans", ConfigError, "a password or token"),
        ("https://host/scans?X-Amz-Signature=secret", ConfigError, "a password or token"),
    ],
)
def test_invalid_sources_are_rejected(
    source: str, kind: type[CovidxrError], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        predict_archive("phantom-cnn", source, tmp_path / "out")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_empty_archives_missing_models_and_missing_ray_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no files"):
        predict_archive("phantom-cnn", str(tmp_path / "empty"), tmp_path / "out")
    with pytest.raises(ModelError, match="there is no model absent"):
        predict_archive("absent", str(tmp_path / "empty"), tmp_path / "out")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'needs ray: pip install "covidxr\[scale\]"'):
        predict_archive("phantom-cnn", str(tmp_path), tmp_path / "out")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster of two workers."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield
        ray.shutdown()


@pytest.fixture
def served(mixed: Path) -> Iterator[str]:
    """The address of a web server for the mixed folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mixed))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_two_workers_predict_a_web_server_as_the_plain_command_its_folder(
    mixed: Path, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SHARD", 5)
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["predict", "phantom-cnn", served, "--engine", "ray", "--out", str(out), "--json"]
    )
    expected = plain(mixed)
    start = {"engine": "ray", "model_id": "phantom-cnn", "files": 24, "skipped": 0, "out": str(out)}
    assert json.loads(result.stdout) == start | count(expected.values())
    assert len(list(out.glob("part-*"))) == 6
    assert_same(pd.read_parquet(out), expected, lambda text: text.replace(served, str(mixed)))


def workers(parent: int) -> list[int]:
    """Return the Ray workers among the descendants of a process."""
    found: dict[int, tuple[int, bytes]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            own = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            found[int(folder.name)] = own, folder.joinpath("cmdline").read_bytes()
        # It has ended.
        except OSError:
            continue

    def below(pid: int) -> bool:
        return pid in found and (found[pid][0] == parent or below(found[pid][0]))

    return [
        pid
        for pid, (_, command) in found.items()
        if command.startswith(b"ray::MapWorker") and below(pid)
    ]


def until(true: Callable[[], Any], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers by /proc")
@pytest.mark.usefixtures("cluster")
def test_after_a_kill_of_all_and_of_one_worker_each_image_has_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out, shards = tmp_path / "archive", tmp_path / "out", 40
    folder.mkdir()
    (tmp_path / "originals").mkdir()
    for i in range(5):
        (tmp_path / "originals" / f"{i}.png").write_bytes(png(i, edge=1000))
    for i in range(4 * shards):
        os.link(tmp_path / "originals" / f"{i % 5}.png", folder / f"{i:03d}.png")

    def parts() -> list[Path]:
        return sorted(out.glob("part-*.parquet"))

    monkeypatch.setattr(archive, "SHARD", 4)
    code = "from pathlib import Path; from covidxr.prediction import archive; archive.SHARD = 4; "
    code += f"archive.predict_archive('phantom-cnn', {str(folder)!r}, Path({str(out)!r}))"
    driver = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        # Not the cluster of these tests.
        env=os.environ | {"RAY_ADDRESS": "local"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(parts()) >= 3)
    orphans = workers(driver.pid)
    assert len(orphans) == 2
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans))
    before = {file: file.stat().st_mtime_ns for file in parts()}
    assert 3 <= len(before) < shards / 2

    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(predict_archive, "phantom-cnn", str(folder), out)
        until(lambda: len(parts()) > len(before) + 5)
        killed, *others = workers(os.getpid())
        assert len(others) == 1
        os.kill(killed, signal.SIGKILL)
        left = shards - len(parts())
        counts = again.result(180)
    assert left > 10
    assert (counts.files, counts.skipped) == (4 * shards, 4 * len(before))
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert not list(out.glob(".*.tmp"))
    # Messages of Ray about killed workers are not on stdout.
    assert capsys.readouterr().out == ""
    # The archive consists of links to these.
    alone = plain(tmp_path / "originals")
    expected = {
        str(file): alone[str(tmp_path / "originals" / f"{int(file.stem) % 5}.png")]
        for file in folder.iterdir()
    }
    assert_same(pd.read_parquet(out), expected)
    assert (counts.answered, counts.refused, counts.unreadable) == tuple(
        count(expected.values()).values()
    )
