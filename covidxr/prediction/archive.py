"""Archives of millions of images, predicted by Ray Data and written as Parquet files.

Each shard of the archive's listing becomes one Parquet file, named by its number and written whole
or not at all. However often workers or the command are killed, each image has exactly one row, and
a shard that has its file is not predicted again. Ray Data distributes the shards, restarts dead
workers and repeats their shards. (Its own checkpoints, beta in Ray 2.60, hold the name of every
image in memory.)
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from covidxr.config import weights_folder
from covidxr.errors import ConfigError, CovidxrError, DatasetError, ImageError, RunError
from covidxr.images.limits import MAX_FILE_BYTES
from covidxr.models import store
from covidxr.models.classifier import Classifier
from covidxr.prediction.archive_listing import (
    LISTING,
    Manifest,
    card_sha256,
    list_archive,
    open_archive,
    read_manifest,
)
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.worklist import ImageFile, WorklistRow, is_image_file, predict_images
from covidxr.records import RESEARCH_ONLY
from covidxr.reports.sentences import prediction_set
from covidxr.storage import printable, write_bytes

if TYPE_CHECKING:
    import pyarrow
    from fsspec import AbstractFileSystem

SHARD = 1000
"""Files per Parquet file, and the most that a killed worker repeats."""
_THREADS = 4
"""Per worker, for fetching files. With one worker per core they mostly wait for the network."""
_ATTEMPTS = 3
"""To fetch a file, and to start a worker."""


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """The number of files by result. `skipped` of them were written by an earlier run."""

    model_id: str
    files: int
    answered: int
    refused: int
    unreadable: int
    skipped: int
    out: str


def predict_archive(model_id: str, source: str, out: Path) -> ArchiveCounts:
    """Predict every image of a folder, or of another address that fsspec can list.

    Images are found as by `list_images`, except that linked folders are not followed and a zip
    becomes a row with an error. There is one worker per CPU of Ray: of the cluster at RAY_ADDRESS,
    else of this machine. All workers must share the folders of the model and of the rows. The same
    call continues an interrupted one.

    Args:
        model_id: Name of the model's folder.
        source: Folder or address.
        out: Folder for the rows as Parquet. The columns are `file`, `input_sha256`, `verdict`,
            `predicted`, a probability in [0, 1] per class, `disease`, `uncertainty`,
            `prediction_set`, `reason` and `warnings`. Only analyzed images have values.

    Raises:
        ConfigError: When Ray or the filesystem's package is not installed, or when the folder has
            other rows or cannot be written.
        ImageError: For a source that cannot be listed or has no images.
        ModelError: For a missing or damaged card.
        RunError: When the workers cannot continue.
    """
    missing = [name for name in ("ray", "pyarrow", "fsspec") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'--engine ray needs {" and ".join(missing)}: pip install "covidxr[scale]"'
        )
    source, out = source.rstrip("/") or "/", out.resolve()
    card = store.read_card(store.model_folder(weights_folder(), model_id))
    files, root = open_archive(source)
    listed = list_archive(files, root, source, card, out, SHARD)
    left = [
        number for number in range(-(-listed.files // SHARD)) if not _part(out, number).exists()
    ]
    skipped = _verdicts(out).total()
    if left:
        predictor = _Predictor(model_id, weights_folder().resolve(), files, root, source, out)
        _predict_shards(left, listed, predictor)
    if not all(_part(out, number).exists() for number in left):
        raise RunError(f"not all workers wrote to {out}; choose a folder that all of them share")
    # Left by workers that were killed.
    for file in out.glob(".part-*.tmp"):
        file.unlink(missing_ok=True)
    found = _verdicts(out)
    if not found:
        raise ImageError(f"{source} holds no PNG, JPEG, TIFF or DICOM files")
    answered, refused, unreadable = (
        found[verdict] for verdict in ("answered", "refused", "unreadable")
    )
    return ArchiveCounts(model_id, found.total(), answered, refused, unreadable, skipped, str(out))


def _predict_shards(left: list[int], listed: Manifest, predictor: _Predictor) -> None:
    """Let the workers of Ray write the Parquet files of some shards."""
    with _ray() as ray:
        shards = ray.data.from_items(
            [{"shard": number} for number in left], override_num_blocks=len(left)
        )
        shards.context.enable_progress_bars = False
        shards.context.max_consecutive_actor_init_deaths = _ATTEMPTS
        workers = max(1, min(len(left), int(ray.cluster_resources().get("CPU", 1))))
        written = shards.map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=[predictor],
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        before = listed.files - sum(
            min(listed.shard, listed.files - number * listed.shard) for number in left
        )
        with tqdm(
            total=listed.files, initial=before, desc="predicting", unit=" files", disable=None
        ) as bar:
            try:
                for row in written.iter_rows():
                    if row["error"]:
                        raise RunError(row["error"])
                    bar.update(row["files"])
            # Ray repeats a dead worker's shard, and gives up after half an hour without progress.
            except (
                ray.exceptions.RayActorError,
                ray.data.exceptions.ExecutionTimeoutError,
            ) as error:
                raise RunError(
                    f"the workers make no progress ({str(error).partition('. ')[0]}); an image may "
                    "crash them, or memory may be insufficient. Finished rows are kept, and the "
                    "same command continues from there"
                ) from error


@contextmanager
def _ray() -> Iterator[Any]:
    """Yield Ray, connected to RAY_ADDRESS, to a cluster on this machine, or to a temporary one.

    A temporary cluster sends no usage statistics, has no dashboard, and requires a token (as Ray
    does by default since 2.60). Output of Ray goes to stderr.
    """
    with ExitStack() as stack:
        stack.enter_context(
            _environment({"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"})
        )
        stack.enter_context(redirect_stdout(sys.stderr))
        import ray
        import ray.data

        if not ray.is_initialized():
            try:
                ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                raise RunError(
                    f"Ray did not start, or RAY_ADDRESS is wrong ({str(error).splitlines()[0]}); a "
                    "cluster that requires a token needs RAY_AUTH_MODE=token"
                ) from error
            stack.callback(ray.shutdown)
        logger = logging.getLogger("ray.data")
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        yield ray


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block, unless they are set already."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


class _Worker:
    """A predictor in a process of Ray."""

    def __init__(self, predictor: _Predictor) -> None:
        self._predictor = predictor

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        import torch

        # There is one worker per core.
        torch.set_num_threads(1)
        try:
            return {"files": [self._predictor.write(int(batch["shard"][0]))], "error": [""]}
        # Returned, since Ray would repeat the shard: the user has to act, as for a full disk.
        except (CovidxrError, OSError) as error:
            return {"files": [0], "error": [str(error)]}


@dataclass(frozen=True)
class _Predictor:
    """Writes the Parquet files of shards; the model is loaded with the first."""

    model_id: str
    weights: Path
    files: AbstractFileSystem
    root: str
    source: str
    out: Path

    @cached_property
    def _model(self) -> Classifier:
        model, manifest = load_classifier(self.model_id, self.weights), read_manifest(self.out)
        if manifest is None or manifest.card_sha256 != card_sha256(model.card):
            raise RunError(
                f"a worker has another {self.out}, or another {self.model_id} in {self.weights}; "
                "all workers must share these folders"
            )
        return model

    @cached_property
    def _listing(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.out / LISTING)

    def write(self, number: int) -> int:
        """Write the file of a shard, unless it exists, and return the shard's number of files."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        model, listed = self._model, self._listing.read_row_group(number).to_pydict()
        names = [name.decode("utf-8", "surrogateescape") for name in listed["file"]]
        if not _part(self.out, number).exists():
            with ThreadPoolExecutor(_THREADS) as pool:
                is_image = pool.map(self._is_image, names)
                images = [
                    ImageFile(f"{self.source}/{name}", partial(self._read, name, length))
                    for name, length, chosen in zip(names, listed["bytes"], is_image, strict=True)
                    if chosen
                ]
            rows = list(predict_images(model, images, threads=_THREADS))
            content = pa.BufferOutputStream()
            pq.write_table(_table(model, rows), content)
            write_bytes(_part(self.out, number), content.getvalue().to_pybytes())
        return len(names)

    def _is_image(self, name: str) -> bool:
        def head() -> bytes:
            # Cut, since some servers send the whole file.
            return bytes(self.files.cat_file(f"{self.root}/{name}", 0, 132)[:132])

        try:
            return is_image_file(name, head)
        # Listed, so that `_read` reports the error.
        except Exception:
            return True

    def _read(self, name: str, length: int | None) -> bytes:
        path = f"{self.root}/{name}"
        if length is not None and length > MAX_FILE_BYTES:
            raise DatasetError(
                f"{name} has {length:,} bytes, more than the limit of {MAX_FILE_BYTES:,}"
            )
        for last in (False,) * (_ATTEMPTS - 1) + (True,):
            try:
                if length is not None:
                    return bytes(self.files.cat_file(path))
                with self.files.open(path, "rb") as opened:
                    # One byte over the limit is rejected by the decoder.
                    return bytes(opened.read(MAX_FILE_BYTES + 1))
            # Each filesystem has its own errors.
            except Exception as error:
                if last or isinstance(error, FileNotFoundError | PermissionError):
                    raise DatasetError(
                        f"cannot read {name}: {str(error) or type(error).__name__}"
                    ) from error
        raise AssertionError


def _table(model: Classifier, rows: list[WorklistRow]) -> pyarrow.Table:
    """Return rows as a table, with the model in its metadata."""
    import pyarrow as pa

    sets = model.card.prediction_sets
    analyzed = [row if row.verdict == "answered" else WorklistRow(row.name) for row in rows]
    text, texts, number = pa.string(), pa.list_(pa.string()), pa.float64()
    columns: dict[str, tuple[Any, list[Any]]] = {
        "file": (text, [printable(row.name) for row in rows]),
        "input_sha256": (text, [row.input_sha256 or None for row in rows]),
        "verdict": (text, [row.verdict for row in rows]),
        "predicted": (text, [row.predicted for row in analyzed]),
    }
    for name in model.card.class_names:
        columns[name] = number, [row.probabilities.get(name) for row in analyzed]
    reasons = [row.error or " ".join(row.rejections) for row in rows]
    chosen = [
        prediction_set(sets, row.probabilities) if sets and row.probabilities else None
        for row in analyzed
    ]
    columns |= {
        "disease": (number, [row.disease for row in analyzed]),
        "uncertainty": (number, [row.uncertainty for row in analyzed]),
        "prediction_set": (texts, chosen),
        "reason": (text, [printable(reason) or None for reason in reasons]),
        "warnings": (texts, [[printable(warning) for warning in row.warnings] for row in rows]),
    }
    about = {
        "model_id": model.card.model_id,
        "weights_sha256": model.card.weights_sha256,
        "note": RESEARCH_ONLY,
    }
    schema = pa.schema(
        [(name, kind) for name, (kind, _) in columns.items()],
        {f"covidxr.{key}": about[key] for key in about},
    )
    return pa.table([values for _, values in columns.values()], schema)


def _part(out: Path, number: int) -> Path:
    return out / f"part-{number:06d}.parquet"


def _verdicts(out: Path) -> Counter[str]:
    """Count the rows of a folder by `verdict`.

    Raises:
        ConfigError: For a damaged file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: Counter[str] = Counter()
    for file in out.glob("part-*.parquet"):
        try:
            found.update(pq.read_table(file, columns=["verdict"])["verdict"].to_pylist())
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(
                f"{file} is damaged ({error}); delete it and repeat the command"
            ) from error
    return found
