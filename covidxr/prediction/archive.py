"""An archive: millions of pictures, scored by Ray Data, one model a worker, into Parquet files.

A shard of the archive's list has one Parquet file, whose name is its number and which is written whole or not at all: however
often workers or the whole command are killed, every picture has one row, and a shard whose file is there is not scored again.
Ray Data spreads the shards over the workers, restarts those that die and repeats what they had begun. (Its own checkpoints,
beta in Ray 2.60, hold the name of every picture in memory.)
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
from covidxr.prediction.worklist import Picture, WorklistRow, is_picture, score_pictures
from covidxr.records import RESEARCH_ONLY
from covidxr.reports.sentences import prediction_set
from covidxr.storage import printable, write_bytes

if TYPE_CHECKING:
    import pyarrow
    from fsspec import AbstractFileSystem

SHARD = 1000
"""Files a Parquet file; what each worker begins again, at most, when all are killed."""
_THREADS = 4
"""That fetch and decode for a worker. There is one worker a core, so these are for waiting."""
_ATTEMPTS = 3
"""How often a file is fetched, and how many workers in turn may die before they can begin."""


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """What became of an archive's pictures; `skipped` of the `files` had been written before."""

    model_id: str
    files: int
    answered: int
    refused: int
    unreadable: int
    skipped: int
    out: str


def score_archive(model_id: str, source: str, out: Path) -> ArchiveCounts:
    """Score every picture below a folder, or another address that fsspec can list, and write the rows as Parquet into `out`.

    Columns: file, input_sha256, verdict, predicted, a probability (0..1) by class, disease, uncertainty, prediction_set, reason,
    warnings; null where there is no answer. Pictures are told as in `list_pictures`, but linked folders are not followed. A zip is
    a row that refuses it. There is one worker for each CPU of Ray: of the cluster at RAY_ADDRESS, else of this machine. All must
    see the same `out` and, in its place, the model. The same call goes on where another ended.

    Raises ConfigError when Ray, or what reads the address, is not installed, or when `out` holds other rows or cannot be written;
    ImageError for a source that cannot be listed or holds no pictures; ModelError for a model without a card; RunError when workers
    cannot go on, also for want of its weights.
    """
    lacking = [name for name in ("ray", "pyarrow", "fsspec") if find_spec(name) is None]
    if lacking:
        raise ConfigError(
            f'--engine ray needs {" and ".join(lacking)}: pip install "covidxr[scale]"'
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
        _score_shards(
            left, listed, _Scorer(model_id, weights_folder().resolve(), files, root, source, out)
        )
    if not all(_part(out, number).exists() for number in left):
        raise RunError(
            f"not all workers wrote to {out}: it must be a folder that all of them share"
        )
    for file in out.glob(".part-*.tmp"):  # by workers that were killed
        file.unlink(missing_ok=True)
    found = _verdicts(out)
    if not found:
        raise ImageError(f"{source} holds no PNG, JPEG, TIFF or DICOM files")
    answered, refused, unreadable = (
        found[verdict] for verdict in ("answered", "refused", "unreadable")
    )
    return ArchiveCounts(model_id, found.total(), answered, refused, unreadable, skipped, str(out))


def _score_shards(left: list[int], listed: Manifest, scorer: _Scorer) -> None:
    """Have Ray's workers write the Parquet files of these shards."""
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
            fn_constructor_args=[scorer],
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
            # Ray begins a shard anew over which a worker died, and gives up when nothing more is done for half an hour.
            except (
                ray.exceptions.RayActorError,
                ray.data.exceptions.ExecutionTimeoutError,
            ) as error:
                raise RunError(
                    f"the workers do not come further ({str(error).partition('. ')[0]}): does a picture crash them, or is there "
                    "too little memory? What is written stays, and the same command goes on from there"
                ) from error


@contextmanager
def _ray() -> Iterator[Any]:
    """Yield Ray, connected: as it is already, else to RAY_ADDRESS, else to a cluster found on this machine or begun for the block.

    The last tells nobody of its use, has no dashboard, and admits by a token alone, as Ray does by itself since 2.60. What Ray
    prints goes to stderr.
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
                    f"Ray did not start, or there is none at RAY_ADDRESS ({str(error).splitlines()[0]}); a cluster that asks for a "
                    "token needs RAY_AUTH_MODE=token"
                ) from error
            stack.callback(ray.shutdown)
        logger = logging.getLogger("ray.data")
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        yield ray


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while, those that are not set."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


class _Worker:
    """A scorer in a process of Ray's."""

    def __init__(self, scorer: _Scorer) -> None:
        self._scorer = scorer

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        import torch

        torch.set_num_threads(1)  # there is a worker for each core
        try:
            return {"files": [self._scorer.write(int(batch["shard"][0]))], "error": [""]}
        except (
            CovidxrError,
            OSError,
        ) as error:  # a full disk, or what else the user can mend: Ray would try it again
            return {"files": [0], "error": [str(error)]}


@dataclass(frozen=True)
class _Scorer:
    """What writes the Parquet file of a shard; the model is loaded with the first."""

    model_id: str
    weights: Path
    files: AbstractFileSystem
    root: str
    source: str
    out: Path

    @cached_property
    def _model(self) -> Classifier:
        model, manifest = (
            load_classifier(self.model_id, self.weights),
            read_manifest(self.out),
        )
        if manifest is None or manifest.card_sha256 != card_sha256(model.card):
            raise RunError(
                f"a worker sees another {self.out}, or another {self.model_id} in {self.weights}: all must see the same"
            )
        return model

    @cached_property
    def _listing(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.out / LISTING)

    def write(self, number: int) -> int:
        """Write the file of a shard, unless it is there, and return how many files the shard has."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        model, listed = self._model, self._listing.read_row_group(number).to_pydict()
        names = [name.decode("utf-8", "surrogateescape") for name in listed["file"]]
        if not _part(self.out, number).exists():
            with ThreadPoolExecutor(_THREADS) as pool:
                chosen = pool.map(self._is_picture, names)
                pictures = [
                    Picture(f"{self.source}/{name}", partial(self._read, name, length))
                    for name, length, yes in zip(names, listed["bytes"], chosen, strict=True)
                    if yes
                ]
            content = pa.BufferOutputStream()
            pq.write_table(
                _table(model, list(score_pictures(model, pictures, threads=_THREADS))), content
            )
            write_bytes(_part(self.out, number), content.getvalue().to_pybytes())
        return len(names)

    def _is_picture(self, name: str) -> bool:
        try:
            # Some servers send all of a file.
            return is_picture(
                name, lambda: bytes(self.files.cat_file(f"{self.root}/{name}", 0, 132)[:132])
            )
        except Exception:  # as in `_read`, which will tell
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
                    return bytes(
                        opened.read(MAX_FILE_BYTES + 1)
                    )  # a byte too many is refused where the picture is decoded
            except Exception as error:  # each filesystem has errors of its own
                if last or isinstance(error, FileNotFoundError | PermissionError):
                    raise DatasetError(
                        f"cannot read {name}: {str(error) or type(error).__name__}"
                    ) from error
        raise AssertionError


def _table(model: Classifier, rows: list[WorklistRow]) -> pyarrow.Table:
    """Return the rows as a table, which says of which model they are."""
    import pyarrow as pa

    sets = model.card.prediction_sets
    answers = [row if row.verdict == "answered" else WorklistRow(row.name) for row in rows]
    columns: dict[str, tuple[Any, list[Any]]] = {
        "file": (pa.string(), [printable(row.name) for row in rows]),
        "input_sha256": (pa.string(), [row.input_sha256 or None for row in rows]),
        "verdict": (pa.string(), [row.verdict for row in rows]),
        "predicted": (pa.string(), [row.predicted for row in answers]),
    }
    columns |= {
        name: (pa.float64(), [row.probabilities.get(name) for row in answers])
        for name in model.card.class_names
    }
    columns |= {
        "disease": (pa.float64(), [row.disease for row in answers]),
        "uncertainty": (pa.float64(), [row.uncertainty for row in answers]),
        "prediction_set": (
            pa.list_(pa.string()),
            [
                prediction_set(sets, row.probabilities) if sets and row.probabilities else None
                for row in answers
            ],
        ),
        "reason": (
            pa.string(),
            [printable(row.error or " ".join(row.refusals)) or None for row in rows],
        ),
        "warnings": (
            pa.list_(pa.string()),
            [[printable(warning) for warning in row.warnings] for row in rows],
        ),
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
    """Count the verdicts of all rows in a folder. Raises ConfigError for a damaged file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: Counter[str] = Counter()
    for file in out.glob("part-*.parquet"):
        try:
            found.update(pq.read_table(file, columns=["verdict"])["verdict"].to_pylist())
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(
                f"{file} is damaged ({error}): delete it and run the same command again"
            ) from error
    return found
