"""Snapshots of runs for pages and tables, each read once from the folder of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from covidxr.cards import EpochMetrics
from covidxr.errors import RunError
from covidxr.records import Augmentation
from covidxr.runs.journal import ACTIVE, Label, RunConfig, RunFolder, Status


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of an active run; None for values that are not known yet."""

    doing: str
    share: float = 0.0
    """Completed fraction of the training, in [0, 1]."""
    epoch: int | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment."""

    path: Path
    label: Label
    status: Status
    reason: str
    config: RunConfig | None
    """None if it is not written yet, or damaged, which is then the `reason`."""
    epochs: tuple[EpochMetrics, ...]
    steps: tuple[tuple[float, float], ...]
    """(completed epochs, training loss since the previous entry), every few seconds."""
    progress: Progress | None
    images_per_second: float | None
    seconds: float
    """Training time."""
    started: str
    model_id: str | None
    """The model published from the run."""

    @property
    def run_id(self) -> str:
        """The name of the run's folder."""
        return self.path.name

    @property
    def name(self) -> str:
        """The name given by the user, else that of the folder."""
        return self.label.name or self.path.name

    @property
    def alive(self) -> bool:
        """Whether a process works on the run, or is starting to."""
        return self.status in ACTIVE

    @property
    def best(self) -> EpochMetrics | None:
        """The epoch with the highest validation macro-F1; the first of equals."""
        return max(self.epochs, key=lambda epoch: epoch.val_macro_f1, default=None)


def take(run: RunFolder) -> Snapshot:
    """Read a run."""
    status, reason, events = run.state()
    try:
        config = run.config()
    except RunError as error:
        config, reason = None, reason or ("" if status in ("new", "starting") else str(error))
    by_epoch = {event["epoch"]: event for event in events if event["event"] == "epoch"}
    steps = [event for event in events if event["event"] == "steps"]
    stored = [event["model_id"] for event in events if event["event"] == "stored"]
    last = by_epoch[max(by_epoch)] if by_epoch else {}
    return Snapshot(
        path=run.path,
        label=run.label(),
        status=status,
        reason=reason,
        config=config,
        epochs=tuple(epoch_metrics(by_epoch[epoch]) for epoch in sorted(by_epoch)),
        steps=_losses(steps),
        progress=_progress(events, config, last) if status in ACTIVE else None,
        images_per_second=last.get("images_per_second"),
        seconds=last.get("seconds", 0.0),
        started=events[0]["time"] if events else "",
        model_id=stored[-1] if stored else None,
    )


def _losses(steps: Sequence[dict[str, Any]]) -> tuple[tuple[float, float], ...]:
    """Return (completed epochs, training loss); steps repeated by a resume replace earlier ones."""
    losses: list[tuple[float, float]] = []
    for event in steps:
        done = event["epoch"] - 1 + event["step"] / event["steps"]
        while losses and losses[-1][0] >= done:
            losses.pop()
        losses.append((done, event["train_loss"]))
    return tuple(losses)


def epoch_metrics(event: dict[str, Any]) -> EpochMetrics:
    """Return the metrics of an `epoch` event."""
    return EpochMetrics(**{field.name: event[field.name] for field in fields(EpochMetrics)})


def _progress(
    events: Sequence[dict[str, Any]], config: RunConfig | None, last_epoch: dict[str, Any]
) -> Progress:
    if not events:
        return Progress("Starting")
    last = events[-1]
    done, total = last_epoch.get("epoch", 0), config.recipe.epochs if config else 1
    share = done / total
    match last["event"]:
        case "queued":
            return Progress(f"Queued behind {last['behind'] or 'another run'}", share)
        case "decoding":
            done_of_total = f"{last['done']:,} of {last['total']:,}"
            return Progress(f"Preparing images (first use only): {done_of_total}", share)
        case "dataset":
            return Progress("Loading the network", share)
        case "started":
            return Progress("Reading the dataset", share)
        case "storing":
            return Progress("Evaluating the best epoch on the test set and auditing shortcuts", 1.0)
        case "finished":
            return Progress("Finishing", 1.0)
        case "epoch":
            if config is None or done == total:
                return Progress("Finishing", share)
            left = (total - done) * last_epoch["seconds"] / done
            return Progress(
                f"Epoch {done + 1} of {total}",
                share,
                done + 1,
                last_epoch["images_per_second"],
                left,
            )
        case "steps":
            return _in_epoch(last, config, last_epoch)
    return Progress("Starting", share)


def _in_epoch(
    last: dict[str, Any], config: RunConfig | None, last_epoch: dict[str, Any]
) -> Progress:
    """Return the progress within an epoch, timed by completed epochs, or by steps in the first."""
    epoch, epochs, speed = last["epoch"], last["epochs"], last["images_per_second"]
    within = last["step"] / last["steps"]
    if last_epoch:
        an_epoch = last_epoch["seconds"] / last_epoch["epoch"]
    else:
        an_epoch = last["steps"] * config.recipe.batch_size / speed if config and speed else None
    left = None if an_epoch is None else (epochs - epoch + 1 - within) * an_epoch
    doing = f"Epoch {epoch} of {epochs}, step {last['step']:,} of {last['steps']:,}"
    return Progress(doing, (epoch - 1 + within) / epochs, epoch, speed, left)


def settings(config: RunConfig) -> dict[str, str]:
    """Return all settings of a run by their titles in the form."""
    recipe = asdict(config.recipe)
    recipe |= recipe.pop("augmentation")
    titles = {
        field.name: field.metadata.get("title", "Recipe")
        for field in (*fields(config.recipe), *fields(Augmentation))
    }
    values = {titles[name]: value for name, value in recipe.items()}
    plan = config.plan
    shares = f"{plan.fractions.train:g} / {plan.fractions.val:g} / {plan.fractions.test:g}"
    values |= {
        "Dataset": config.data,
        "Split": plan.protocol,
        "Split seed": plan.seed,
        "Train / val / test": shares,
    }
    values |= {
        "Excluded images": len(config.excluded),
        "File of initial weights": config.init_file or "",
        "Unreadable images": "skipped" if config.skip_unreadable else "stop the run",
    }
    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


def differences(configs: Sequence[RunConfig]) -> dict[str, tuple[str, ...]]:
    """Return the settings in which runs differ, with one value per run."""
    each = [settings(config) for config in configs]
    return {
        name: tuple(own[name] for own in each)
        for name in each[0]
        if len({own[name] for own in each}) > 1
    }
