"""The training loop: on a CPU, one GPU, or many processes under torchrun, with Lightning Fabric."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from covidxr.errors import Cancelled, ConfigError, RunError
from covidxr.models.architectures import build_network
from covidxr.models.checkpoints import Fitted, RunState, previous
from covidxr.models.inference import predict_scores
from covidxr.models.optimization import (
    Learner,
    class_weights,
    freeze,
    make_average,
    make_optimizer,
    make_schedule,
)
from covidxr.models.preprocessing import apply_changes, draw_changes, normalize, to_unit
from covidxr.models.pretrained import load_imagenet
from covidxr.records import Labels, Preprocessing, Recipe

_REPORT_SECONDS = 2.0
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Decoded images and labels of M images, and which of them train and validate."""

    pixels: npt.NDArray[np.uint8]
    """(M, S, S)."""
    labels: Labels
    """(M,) class indices."""
    train_rows: npt.NDArray[np.int64]
    val_rows: npt.NDArray[np.int64]
    class_names: tuple[str, ...]


def make_fabric() -> Fabric:
    """Return a launched Fabric: one device, or the processes of torchrun.

    In bfloat16 where the hardware computes in it.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator="auto",
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if has_fast_bfloat16() else "32-true",
    )
    fabric.launch()
    return fabric


def has_fast_bfloat16() -> bool:
    """Whether the hardware computes in bfloat16; emulation is ten times slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fit(
    recipe: Recipe,
    data: TrainingData,
    checkpoint: Path,
    report: Report,
    cancelled: Callable[[], bool] = lambda: False,
    init_file: Path | None = None,
) -> Fitted:
    """Train a network, resuming from a checkpoint where there is one.

    Every random number depends on (seed, epoch) alone, so that an interrupted run has the same
    result as an uninterrupted one.

    Args:
        recipe: Settings of the training.
        data: Images and labels.
        checkpoint: File of the checkpoint, whether it exists or not.
        report: Receives a JSON-ready dictionary after each epoch and, every few seconds, one on
            the steps since the last (of this process alone).
        cancelled: Asked after each step whether to stop.
        init_file: ImageNet weights, as in `load_imagenet`.

    Returns:
        The epoch with the highest macro-F1 on val.

    Raises:
        Cancelled: When `cancelled` returns true.
        ConfigError: When the recipe does not fit the data or the machine.
        RunError: When the checkpoint cannot be read.
    """
    fabric = make_fabric()
    _check_batch_size(recipe, data, fabric)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.architecture, len(data.class_names), recipe.image_size)
    resuming = checkpoint.exists() or previous(checkpoint).exists()
    origin = "random weights"
    if recipe.init == "imagenet" and not resuming:
        origin = load_imagenet(network, recipe.architecture, init_file)
    network = network.to(memory_format=torch.channels_last)
    # On CPUs torch has no synchronized batch norm: there, each process normalizes its own images.
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    frozen = freeze(network, recipe)
    optimizer = make_optimizer(network, recipe)
    schedule = make_schedule(optimizer, recipe, len(data.train_rows) // recipe.batch_size)
    average = make_average(network, recipe)
    state = RunState(network, average, optimizer, schedule, origin)
    if resuming:
        state.restore(checkpoint)
    _check_same_epoch(state.epoch, fabric)
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)
    if average is not None:
        average.to(fabric.device)
    labels = data.labels[data.train_rows]
    weights = class_weights(labels, len(data.class_names), recipe.class_balance).to(fabric.device)
    learner = Learner(network, wrapped, wrapped_optimizer, schedule, average, frozen, weights)

    first_epoch = state.epoch + 1
    for epoch in range(first_epoch, recipe.epochs + 1):
        if state.epochs_since_best >= recipe.patience:
            break
        started = time.monotonic()
        trained = train_one_epoch(
            learner, recipe, data, epoch, fabric, report, cancelled, epoch == first_epoch
        )
        validated = validate(learner.evaluated, recipe, data, fabric)
        seconds = time.monotonic() - started
        state.finish_epoch(epoch, validated["val_macro_f1"], learner.evaluated, seconds)
        if fabric.is_global_zero:
            report(
                {"event": "epoch", "epoch": epoch, "epochs": recipe.epochs}
                | trained
                | validated
                | {"best_epoch": state.best_epoch, "seconds": state.seconds}
            )
            # After the report: if killed in between, the epoch is repeated and not lost.
            state.save(checkpoint)
    fabric.barrier()
    return state.result()


def train_one_epoch(
    learner: Learner,
    recipe: Recipe,
    data: TrainingData,
    epoch: int,
    fabric: Fabric,
    report: Report,
    cancelled: Callable[[], bool],
    report_first_step: bool,
) -> dict[str, float]:
    """Train for one epoch.

    Returns:
        Mean loss and accuracy over the steps, and the speed in images per second.
    """
    preprocessing = Preprocessing(image_size=recipe.image_size)
    steps = len(data.train_rows) // recipe.batch_size
    learner.train()
    # Loss and accuracy, summed over the steps.
    total = torch.zeros(2, dtype=torch.float64)
    started = reported_at = time.monotonic()
    reported_step, reported_loss = 0, 0.0
    batches = tqdm(
        _batches(data, recipe, epoch, fabric),
        total=steps,
        desc=f"epoch {epoch}/{recipe.epochs}",
        disable=None if fabric.is_global_zero else True,
    )
    for step, (gray, y) in enumerate(batches, start=1):
        x = normalize(gray, preprocessing).to(fabric.device)  # (B, 3, S, S)
        y = y.to(fabric.device)
        logits = learner.wrapped(x)  # (B, C)
        # The mean over images, not over weights: shares of processes then add up to the batch.
        loss = F.cross_entropy(
            logits.float(),
            y,
            learner.class_weights,
            label_smoothing=recipe.label_smoothing,
            reduction="none",
        ).mean()
        learner.step(loss, fabric)
        total += torch.stack([loss.detach(), (logits.argmax(dim=1) == y).float().mean()]).cpu()
        if _on_any_process(cancelled(), fabric):
            raise Cancelled
        now = time.monotonic()
        if now - reported_at >= _REPORT_SECONDS or (report_first_step and step == 1):
            new_steps = step - reported_step
            report(
                {
                    "event": "steps",
                    "epoch": epoch,
                    "epochs": recipe.epochs,
                    "step": step,
                    "steps": steps,
                    "train_loss": (float(total[0]) - reported_loss) / new_steps,
                    "images_per_second": new_steps * recipe.batch_size / (now - reported_at),
                }
            )
            reported_step, reported_at, reported_loss = step, now, float(total[0])
    seconds = time.monotonic() - started
    loss_and_accuracy = _sum_over_processes(total, fabric) / (steps * fabric.world_size)
    return {
        "train_loss": float(loss_and_accuracy[0]),
        "train_accuracy": float(loss_and_accuracy[1]),
        "images_per_second": steps * recipe.batch_size / seconds,
    }


def validate(
    network: nn.Module, recipe: Recipe, data: TrainingData, fabric: Fabric
) -> dict[str, float]:
    """Return loss, accuracy and macro-F1 on val; each process computes its share."""
    network.eval()
    mine = np.arange(fabric.global_rank, len(data.val_rows), fabric.world_size)
    preprocessing = Preprocessing(image_size=recipe.image_size)
    own = predict_scores(network, data.pixels, data.val_rows[mine], preprocessing)
    scattered = torch.zeros(len(data.val_rows), len(data.class_names), dtype=torch.float64)
    scattered[mine] = torch.from_numpy(own)
    scores = _sum_over_processes(scattered, fabric).numpy()
    y_true, y_pred = data.labels[data.val_rows], scores.argmax(axis=1)
    return {
        "val_loss": float(-np.log(scores[np.arange(len(y_true)), y_true].clip(1e-12)).mean()),
        "val_accuracy": float((y_pred == y_true).mean()),
        "val_macro_f1": float(f1_score(y_true, y_pred, average="macro")),
    }


def _batches(
    data: TrainingData, recipe: Recipe, epoch: int, fabric: Fabric
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's share of each batch: (B, 1, S, S) in [0, 1] and (B,) labels.

    The last, smaller batch is dropped.
    """
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    order = data.train_rows[torch.randperm(len(data.train_rows), generator=generator).numpy()]
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        affine, tone = draw_changes(recipe.batch_size, recipe.augmentation, generator)
        mine = slice(fabric.global_rank, recipe.batch_size, fabric.world_size)
        rows = order[start : start + recipe.batch_size][mine]
        gray = to_unit(data.pixels[rows])
        if recipe.augmentation.active:
            gray = apply_changes(gray, affine[mine], tone[mine])
        yield gray, torch.from_numpy(data.labels[rows])


def _sum_over_processes(values: Tensor, fabric: Fabric) -> Tensor:
    summed = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
    # Fabric's signature also allows collections.
    assert isinstance(summed, Tensor)
    return summed.cpu()


def _on_any_process(flag: bool, fabric: Fabric) -> bool:
    """Whether the flag is set on any process: all must stop after the same step, or some hang."""
    if fabric.world_size == 1:
        return flag
    return bool(_sum_over_processes(torch.tensor([float(flag)]), fabric) > 0)


def _check_batch_size(recipe: Recipe, data: TrainingData, fabric: Fabric) -> None:
    if recipe.batch_size > len(data.train_rows):
        raise ConfigError(
            f"batch_size ({recipe.batch_size}) must be <= the number of training images "
            f"({len(data.train_rows)})"
        )
    if recipe.batch_size % fabric.world_size:
        raise ConfigError(
            f"batch_size ({recipe.batch_size}) must be a multiple of the {fabric.world_size} "
            "processes"
        )


def _check_same_epoch(epoch: int, fabric: Fabric) -> None:
    """Raise RunError unless all processes resume from the same epoch."""
    epochs = fabric.all_gather(torch.tensor([epoch]))
    assert isinstance(epochs, Tensor)
    if bool((epochs != epoch).any()):
        raise RunError(
            "the machines found different checkpoints: --run-dir must be a folder shared by all"
        )
