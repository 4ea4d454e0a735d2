"""Runs: training, going on, and the study again."""

from __future__ import annotations

import errno
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from covidxr.config import cache_folder
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data, write_split
from covidxr.errors import Cancelled, CovidxrError, RunError
from covidxr.lungs.inputs import input_pixels
from covidxr.models.checkpoints import Fitted
from covidxr.models.training import TrainingData, fit
from covidxr.prediction.loading import segmenter_for
from covidxr.records import Preprocessing
from covidxr.runs.journal import RunConfig, RunFolder, boot_id
from covidxr.runs.queue import turn

if TYPE_CHECKING:
    from covidxr.models.checkpoints import Fitted

_TELL_SECONDS = 2.0


class _Interrupted(BaseException):
    """SIGTERM came; not an Exception, lest a library take it for an error of its own."""


def is_main_process() -> bool:
    """Whether this process speaks for the run: under torchrun only the first writes to disk."""
    return os.environ.get("RANK", "0") == "0"


def train(config: RunConfig, folder: Path, at_once: bool = False) -> RunFolder:
    """Start a run in a folder and train until it is finished, cancelled or failed. Raises RunError when the folder holds a run.

    Runs of one device train one after another; `at_once` does not wait for its turn. A job that torchrun restarts after it lost
    a worker goes on from the last checkpoint.
    """
    run = RunFolder(folder)
    restarted = (
        int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        and (folder / "config.json").exists()
    )
    with run.hold() if is_main_process() else nullcontext():
        if is_main_process() and not restarted:
            run.create(config)
        _train(run, config, at_once)
    return run


def resume(folder: Path, at_once: bool = False) -> RunFolder:
    """Go on with a run after its last finished epoch. Raises RunError when it is going on already, or is no run."""
    run = RunFolder(folder)
    config = run.config()
    with run.hold() if is_main_process() else nullcontext():
        _train(run, config, at_once)
    return run


def _train(run: RunFolder, config: RunConfig, at_once: bool) -> None:
    report = run.report if is_main_process() else lambda event: None
    alone = (
        at_once or "RANK" in os.environ
    )  # torchrun is told what to use, and its processes cannot wait one by one
    if is_main_process() and [event["event"] for event in run.events()[-1:]] != ["launched"]:
        # Left from an earlier time. Whoever launches a process clears it first, and may have asked it to stop by now.
        run.cancel.unlink(missing_ok=True)

    def wait(behind: str) -> None:
        if behind:
            report({"event": "queued", "behind": behind})
        _heed_cancel(run)

    try:
        with _sigterm_interrupts():
            report({"event": "launched", "boot": boot_id()})
            with nullcontext() if alone else turn(_queue_folder(), run.path.name, wait):
                report({"event": "started"})
                fitted = _fit(run, config, report)
    except (Cancelled, KeyboardInterrupt):
        report({"event": "cancelled"})
    except _Interrupted:
        report(
            {
                "event": "interrupted",
                "reason": "the system asked its process to end, as it does on a shutdown",
            }
        )
        raise RunError(
            f"the run {run.path} was asked to end; go on with `covidxr resume {run.path}`"
        ) from None
    except CovidxrError as error:
        report({"event": "failed", "reason": str(error)})
        raise
    except Exception as error:
        if _disk_full(error):
            with suppress(
                OSError
            ):  # not even a line may fit: then whoever looks finds the disk full
                report(
                    {
                        "event": "interrupted",
                        "reason": f"the disk is full ({error}); make room, then resume",
                    }
                )
            raise RunError(
                f"the disk is full ({error}); make room, then go on with `covidxr resume {run.path}`"
            ) from error
        report(
            {
                "event": "failed",
                "reason": f"an error that nobody foresaw, {type(error).__name__}: {error}; the log says more",
            }
        )
        raise
    else:
        report(
            {
                "event": "finished",
                "best_epoch": fitted.best_epoch,
                "best_macro_f1": fitted.best_macro_f1,
            }
        )


def _fit(run: RunFolder, config: RunConfig, report: Callable[[dict[str, Any]], None]) -> Fitted:
    """Read the dataset, divide and decode it, and train."""
    told = time.monotonic()

    def watch(done: int, total: int) -> None:
        nonlocal told
        _heed_cancel(run)
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            report({"event": "decoding", "done": done, "total": total})

    dataset, segmenter = open_dataset(config.data), segmenter_for(config.recipe)
    data = split_data(dataset, config.plan, config.skip_unreadable, watch, config.excluded)
    dataset, split = data.dataset, data.split
    preprocessing = Preprocessing(
        config.recipe.image_size, segmenter_sha256=segmenter.sha256 if segmenter else ""
    )
    pixels = input_pixels(preprocessing, segmenter, dataset, config.skip_unreadable, watch)
    report(
        {
            "event": "dataset",
            "n": len(dataset.samples),
            "skipped": [list(entry) for entry in dataset.skipped],
        }
    )
    if is_main_process():
        write_split(split, dataset.class_names, run.split)
    rows = pixels.rows(split.files)
    labels = np.zeros(len(pixels.files), dtype=np.int64)
    labels[rows] = split.labels
    return fit(
        config.recipe,
        TrainingData(
            pixels.array,
            labels,
            rows[split.rows("train")],
            rows[split.rows("val")],
            dataset.class_names,
        ),
        run.checkpoint,
        report,
        run.cancel.exists,
        Path(config.init_file) if config.init_file else None,
    )


def _heed_cancel(run: RunFolder) -> None:
    if run.cancel.exists():
        raise Cancelled


def _queue_folder() -> Path:
    """One queue a device: what Fabric picks is the machine's only one, or the one that CUDA_VISIBLE_DEVICES leaves it."""
    return (
        cache_folder()
        / "queue"
        / f"{platform.node()}-{os.environ.get('CUDA_VISIBLE_DEVICES', '').replace('/', '-')}"
    )


def _disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Raise _Interrupted when the system asks the process to end; only the main thread may say so."""

    def interrupt(*_: object) -> NoReturn:
        raise _Interrupted

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
