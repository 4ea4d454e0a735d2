"""Training of runs, from the start or after an interruption."""

from __future__ import annotations

import errno
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from covidxr.config import cache_folder
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import split_data, write_split
from covidxr.errors import Cancelled, CovidxrError, RunError
from covidxr.lungs.inputs import input_pixels
from covidxr.prediction.loading import segmenter_for
from covidxr.records import Preprocessing
from covidxr.runs.device_queue import take_turn
from covidxr.runs.journal import RunConfig, RunFolder, boot_id

if TYPE_CHECKING:
    from covidxr.models.checkpoints import Fitted

_Report = Callable[[dict[str, Any]], None]
_REPORT_SECONDS = 2.0


class _Interrupted(BaseException):
    """SIGTERM. Not an Exception, so that no library handles it as an error of its own."""


def train(config: RunConfig, folder: Path, at_once: bool = False) -> RunFolder:
    """Start a run and train until it is finished, cancelled or failed.

    A job that torchrun restarts after the loss of a worker continues from the last checkpoint.

    Args:
        config: Of the run.
        folder: Of the run.
        at_once: Do not queue behind other runs of the device.

    Raises:
        RunError: For a folder that holds a run, and for an interruption.
    """
    run = RunFolder(folder)
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    restarted = restarts > 0 and (folder / "config.json").exists()
    with run.hold() if is_main_process() else nullcontext():
        if is_main_process() and not restarted:
            run.create(config)
        _train(run, config, at_once)
    return run


def resume(folder: Path, at_once: bool = False) -> RunFolder:
    """Continue a run after its last completed epoch.

    Args:
        folder: Of the run.
        at_once: Do not queue behind other runs of the device.

    Raises:
        RunError: For a run that is running or does not exist, and for an interruption.
    """
    run = RunFolder(folder)
    config = run.config()
    with run.hold() if is_main_process() else nullcontext():
        _train(run, config, at_once)
    return run


def is_main_process() -> bool:
    """Whether this process writes to disk: under torchrun only the first does."""
    return os.environ.get("RANK", "0") == "0"


def _train(run: RunFolder, config: RunConfig, at_once: bool) -> None:
    """Train, and report how the run ended."""
    report: _Report = run.report if is_main_process() else lambda event: None
    _clear_old_cancel(run)
    try:
        with _sigterm_interrupts():
            report({"event": "launched", "boot": boot_id()})
            with _turn(run, report, at_once):
                report({"event": "started"})
                fitted = _fit(run, config, report)
    except (Cancelled, KeyboardInterrupt):
        report({"event": "cancelled"})
    except _Interrupted:
        reason = "the system asked the process to stop, as on a shutdown"
        report({"event": "interrupted", "reason": reason})
        raise RunError(
            f"the run {run.path} was asked to stop; continue it with `covidxr resume {run.path}`"
        ) from None
    except CovidxrError as error:
        report({"event": "failed", "reason": str(error)})
        raise
    except Exception as error:
        if not _is_disk_full(error):
            reason = f"unexpected error, {type(error).__name__}: {error}; see the log"
            report({"event": "failed", "reason": reason})
            raise
        reason = f"the disk is full ({error}); free some space, then resume"
        # If this line does not fit either, the reader of the folder finds the disk full.
        with suppress(OSError):
            report({"event": "interrupted", "reason": reason})
        raise RunError(f"{reason} with `covidxr resume {run.path}`") from error
    else:
        report(
            {
                "event": "finished",
                "best_epoch": fitted.best_epoch,
                "best_macro_f1": fitted.best_macro_f1,
            }
        )


def _clear_old_cancel(run: RunFolder) -> None:
    """Remove a request to cancel an earlier process."""
    # The launcher has removed it already, and the request that is there may be a new one.
    launched = [event["event"] for event in run.events()[-1:]] == ["launched"]
    if is_main_process() and not launched:
        run.cancel.unlink(missing_ok=True)


def _turn(run: RunFolder, report: _Report, at_once: bool) -> AbstractContextManager[None]:
    """Wait until earlier runs have left the device's queue."""

    def waiting(behind: str) -> None:
        if behind:
            report({"event": "queued", "behind": behind})
        _raise_if_cancelled(run)

    # The processes of torchrun are given their devices, and cannot queue one by one.
    if at_once or "RANK" in os.environ:
        return nullcontext()
    # Fabric uses the only device, or the one that CUDA_VISIBLE_DEVICES leaves.
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "").replace("/", "-")
    return take_turn(
        cache_folder() / "queue" / f"{platform.node()}-{device}", run.path.name, waiting
    )


def _fit(run: RunFolder, config: RunConfig, report: _Report) -> Fitted:
    """Open, split and decode the dataset, and train the network."""
    # Imported here: a queued run must report itself before torch, which takes seconds to load.
    from covidxr.models.training import TrainingData, fit

    reported = time.monotonic()

    def watch(done: int, total: int) -> None:
        nonlocal reported
        _raise_if_cancelled(run)
        if time.monotonic() - reported >= _REPORT_SECONDS:
            reported = time.monotonic()
            report({"event": "decoding", "done": done, "total": total})

    dataset, segmenter = open_dataset(config.data), segmenter_for(config.recipe)
    data = split_data(dataset, config.plan, config.skip_unreadable, watch, config.excluded)
    dataset, split = data.dataset, data.split
    preprocessing = Preprocessing(
        config.recipe.image_size, segmenter_sha256=segmenter.sha256 if segmenter else ""
    )
    pixels = input_pixels(preprocessing, segmenter, dataset, config.skip_unreadable, watch)
    skipped = [list(entry) for entry in dataset.skipped]
    report({"event": "dataset", "n": len(dataset.samples), "skipped": skipped})
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


def _raise_if_cancelled(run: RunFolder) -> None:
    if run.cancel.exists():
        raise Cancelled


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Raise _Interrupted on SIGTERM; only the main thread can."""

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
