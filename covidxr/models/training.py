"""The training loop: on a CPU, one GPU, or many processes under torchrun, through Lightning Fabric."""

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
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from covidxr.errors import Cancelled, ConfigError, RunError
from covidxr.models.architectures import architecture, build_network
from covidxr.models.checkpoints import Fitted, RunState, previous
from covidxr.models.inference import predict_scores
from covidxr.models.preprocessing import apply_changes, draw_changes, normalise, to_unit
from covidxr.models.pretrained import load_imagenet
from covidxr.records import Labels, Preprocessing, Recipe, Scores

_TELL_SECONDS = 2.0
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Decoded images (M, S, S) uint8 with the class index of each, (M,), and the rows that train and that validate."""

    pixels: npt.NDArray[np.uint8]
    labels: Labels
    train_rows: npt.NDArray[np.int64]
    val_rows: npt.NDArray[np.int64]
    class_names: tuple[str, ...]


def make_fabric() -> Fabric:
    """Return a started Fabric: one device, or the processes of torchrun; bfloat16 where the hardware computes in it."""
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
    """Whether the device computes in bfloat16; a CPU without it emulates, which is ten times slower than float32."""
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
    """Train by a recipe, going on from `checkpoint` where it exists; returns the best epoch by validation macro-F1.

    report: receives one JSON-ready dict an epoch and, every few seconds, one on its steps since the last (of this process alone).
    cancelled: asked after every step; raises Cancelled when it says yes.
    Every random choice depends on (seed, epoch) alone, so an interrupted run ends as an uninterrupted one does.
    """
    if recipe.batch_size > len(data.train_rows):
        raise ConfigError(
            f"batch_size ({recipe.batch_size}) must be <= the number of training images ({len(data.train_rows)})"
        )
    fabric = make_fabric()
    if recipe.batch_size % fabric.world_size:
        raise ConfigError(
            f"batch_size ({recipe.batch_size}) must be a multiple of the {fabric.world_size} processes"
        )
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.architecture, len(data.class_names), recipe.image_size)
    resuming = checkpoint.exists() or previous(checkpoint).exists()
    origin = (
        load_imagenet(network, recipe.architecture, init_file)
        if recipe.init == "imagenet" and not resuming
        else "random weights"
    )
    network = network.to(memory_format=torch.channels_last)
    if (
        fabric.world_size > 1 and fabric.device.type == "cuda"
    ):  # torch has no such layer for the CPU: there each process is alone
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    frozen = _freeze(network, recipe)
    optimizer = _make_optimizer(network, recipe)
    steps = len(data.train_rows) // recipe.batch_size
    schedule = _make_schedule(optimizer, recipe, steps)
    average = _make_average(network, recipe)
    state = RunState(network, average, optimizer, schedule, origin)
    if resuming:
        state.restore(checkpoint)
    _check_same_epoch(state.epoch, fabric)
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)
    if average is not None:
        average.to(fabric.device)
    weights = _class_weights(data, recipe.class_balance).to(fabric.device)
    judge = average.module if average is not None else network
    preprocessing = Preprocessing(image_size=recipe.image_size)
    first_step = True

    for epoch in range(state.epoch + 1, recipe.epochs + 1):
        if state.epochs_since_best >= recipe.patience:
            break
        started = time.monotonic()
        wrapped.train()
        for module in frozen:
            module.eval()
        total = torch.zeros(2, dtype=torch.float64)  # loss and right answers, over the steps
        told_step, told_time, told_loss = 0, started, 0.0
        label = f"epoch {epoch}/{recipe.epochs}"
        quiet = None if fabric.is_global_zero else True
        batches = tqdm(
            _batches(data, recipe, epoch, fabric), total=steps, desc=label, disable=quiet
        )
        for step, (grey, y) in enumerate(batches, start=1):
            x = normalise(grey, preprocessing).to(fabric.device)  # (B, 3, S, S)
            y = y.to(fabric.device)
            logits = wrapped(x)  # (B, C)
            # The mean over the samples, not over their weights: so the shares of several processes add up to the global batch.
            losses = F.cross_entropy(
                logits.float(), y, weights, label_smoothing=recipe.label_smoothing, reduction="none"
            )
            loss = losses.mean()
            wrapped_optimizer.zero_grad()
            fabric.backward(loss)
            wrapped_optimizer.step()
            if schedule is not None:
                schedule.step()
            if average is not None:
                average.update_parameters(network)
            total += torch.stack([loss.detach(), (logits.argmax(dim=1) == y).float().mean()]).cpu()
            if _on_any_process(cancelled(), fabric):
                raise Cancelled
            now = time.monotonic()
            if first_step or now - told_time >= _TELL_SECONDS:
                speed = (step - told_step) * recipe.batch_size / (now - told_time)
                recent_loss = (float(total[0]) - told_loss) / (step - told_step)
                report(
                    {
                        "event": "steps",
                        "epoch": epoch,
                        "epochs": recipe.epochs,
                        "step": step,
                        "steps": steps,
                    }
                    | {"train_loss": recent_loss, "images_per_second": speed}
                )
                told_step, told_time, told_loss, first_step = step, now, float(total[0]), False
        trained = time.monotonic()
        train_loss, train_accuracy = (
            _sum_over_processes(total, fabric) / (steps * fabric.world_size)
        ).tolist()
        judge.eval()
        scores = _validate(judge, data, preprocessing, fabric)
        y_true = data.labels[data.val_rows]
        macro_f1 = float(f1_score(y_true, scores.argmax(axis=1), average="macro"))
        state.finish_epoch(epoch, macro_f1, judge, time.monotonic() - started)
        if fabric.is_global_zero:
            report(
                {
                    "event": "epoch",
                    "epoch": epoch,
                    "epochs": recipe.epochs,
                    "train_loss": train_loss,
                    "train_accuracy": train_accuracy,
                    "val_loss": float(
                        -np.log(scores[np.arange(len(y_true)), y_true].clip(1e-12)).mean()
                    ),
                    "val_accuracy": float((scores.argmax(axis=1) == y_true).mean()),
                    "val_macro_f1": macro_f1,
                    "best_epoch": state.best_epoch,
                    "images_per_second": steps * recipe.batch_size / (trained - started),
                    "seconds": state.seconds,
                }
            )
            state.save(
                checkpoint
            )  # after the report: killed in between, the epoch is trained and told again, not lost
    fabric.barrier()
    return state.result()


def _freeze(network: nn.Module, recipe: Recipe) -> list[nn.Module]:
    """Stop the first stages from learning; they must also stay in eval mode, or their batch statistics would drift."""
    stages = architecture(recipe.architecture).stages
    if recipe.frozen_stages > len(stages):
        raise ConfigError(
            f"frozen_stages must be <= {len(stages)} for {recipe.architecture}, got {recipe.frozen_stages}"
        )
    modules = [
        network.get_submodule(name) for stage in stages[: recipe.frozen_stages] for name in stage
    ]
    for module in modules:
        module.requires_grad_(False)
    return modules


def _make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [p for p in network.parameters() if p.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
    # Norms and biases are not decayed: decay there only fights the normalisation.
    decayed, plain = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _make_average(network: nn.Module, recipe: Recipe) -> AveragedModel | None:
    if not recipe.ema_decay:
        return None
    update = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def _make_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int
) -> LRScheduler | None:
    if recipe.schedule == "constant":
        return None
    return OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=steps * recipe.epochs)


def _class_weights(data: TrainingData, balance: float) -> Tensor:
    """(C,) share of a class to the power of -balance, scaled so that the mean weight of a training image is 1."""
    counts = np.bincount(data.labels[data.train_rows], minlength=len(data.class_names))
    weights = (counts / counts.sum()).clip(min=1e-9) ** -balance
    return torch.from_numpy(weights / (weights * counts).sum() * counts.sum()).float()


def _batches(
    data: TrainingData, recipe: Recipe, epoch: int, fabric: Fabric
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's share of each global batch: (B, 1, S, S) in [0, 1] and (B,) labels; a partial one is dropped."""
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    order = data.train_rows[torch.randperm(len(data.train_rows), generator=generator).numpy()]
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        affine, tone = draw_changes(recipe.batch_size, recipe.augmentation, generator)
        mine = slice(fabric.global_rank, recipe.batch_size, fabric.world_size)
        rows = order[start : start + recipe.batch_size][mine]
        grey = to_unit(data.pixels[rows])
        if recipe.augmentation.active:
            grey = apply_changes(grey, affine[mine], tone[mine])
        yield grey, torch.from_numpy(data.labels[rows])


def _validate(
    judge: nn.Module, data: TrainingData, preprocessing: Preprocessing, fabric: Fabric
) -> Scores:
    """(V, C) probabilities of the validation images, each process computing its share."""
    mine = np.arange(fabric.global_rank, len(data.val_rows), fabric.world_size)
    scores = torch.zeros(len(data.val_rows), len(data.class_names), dtype=torch.float64)
    scores[mine] = torch.from_numpy(
        predict_scores(judge, data.pixels, data.val_rows[mine], preprocessing)
    )
    return _sum_over_processes(scores, fabric).numpy()


def _sum_over_processes(values: Tensor, fabric: Fabric) -> Tensor:
    summed = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
    assert isinstance(
        summed, Tensor
    )  # a tensor goes in, so one comes out; the signature also allows collections
    return summed.cpu()


def _on_any_process(flag: bool, fabric: Fabric) -> bool:
    """Whether the flag is up on any process: all must stop after the same step, or the others would wait for ever."""
    return (
        flag
        if fabric.world_size == 1
        else bool(_sum_over_processes(torch.tensor([float(flag)]), fabric) > 0)
    )


def _check_same_epoch(epoch: int, fabric: Fabric) -> None:
    """Raise RunError when not every process found the checkpoint of the same epoch: they would train past one another."""
    epochs = fabric.all_gather(torch.tensor([epoch]))
    assert isinstance(epochs, Tensor)
    if bool((epochs != epoch).any()):
        raise RunError(
            "the machines found different checkpoints: --run-dir must name a folder that they all share"
        )
