"""A run as it stands at one moment: what a page or a table shows of it, read once from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from covidxr.cards import EpochFigures
from covidxr.errors import RunError
from covidxr.records import Augmentation
from covidxr.runs.journal import Label, RunConfig, RunFolder, Status


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a living run is; `share` of the whole training lies in [0, 1]. What is not known yet is None."""

    doing: str
    share: float = 0.0
    epoch: int | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment. `config` is None where it is not written yet, or damaged: then `reason` says so."""

    path: Path
    label: Label
    status: Status
    reason: str
    config: RunConfig | None
    epochs: tuple[EpochFigures, ...]
    steps: tuple[tuple[float, float], ...]
    """(epochs done, training loss since the one before), as told every few seconds."""
    progress: Progress | None
    images_per_second: float | None
    seconds: float
    """Spent training."""
    started: str
    model_id: str | None
    """The model that was made of the run."""

    @property
    def run_id(self) -> str:
        """The name of the run's folder."""
        return self.path.name

    @property
    def name(self) -> str:
        """What people call the run."""
        return self.label.name or self.path.name

    @property
    def alive(self) -> bool:
        """Whether a process works on the run, or is about to."""
        return self.status in ("starting", "queued", "running")

    @property
    def best(self) -> EpochFigures | None:
        """The epoch of the highest macro-F1 on validation, the first of equals."""
        return max(self.epochs, key=lambda epoch: epoch.val_macro_f1, default=None)


def take(run: RunFolder) -> Snapshot:
    """Read a run as it stands."""
    status, reason, events = run.state()
    try:
        config = run.config()
    except RunError as error:
        config, reason = None, reason or ("" if status in ("new", "starting") else str(error))
    by_epoch = {event["epoch"]: event for event in events if event["event"] == "epoch"}
    told = [event for event in events if event["event"] == "steps"]
    stored = [event["model_id"] for event in events if event["event"] == "stored"]
    last = by_epoch[max(by_epoch)] if by_epoch else {}
    return Snapshot(
        path=run.path,
        label=run.label(),
        status=status,
        reason=reason,
        config=config,
        epochs=tuple(epoch_figures(by_epoch[epoch]) for epoch in sorted(by_epoch)),
        steps=_places(told),
        progress=_progress(events, config, last)
        if status in ("starting", "queued", "running")
        else None,
        images_per_second=last.get("images_per_second"),
        seconds=last.get("seconds", 0.0),
        started=events[0]["time"] if events else "",
        model_id=stored[-1] if stored else None,
    )


def _places(told: Sequence[dict[str, Any]]) -> tuple[tuple[float, float], ...]:
    """(epochs done, training loss) as told; what a resume trained again takes the place of what was told of it before."""
    places: list[tuple[float, float]] = []
    for event in told:
        place = event["epoch"] - 1 + event["step"] / event["steps"]
        while places and places[-1][0] >= place:
            places.pop()
        places.append((place, event["train_loss"]))
    return tuple(places)


def epoch_figures(event: dict[str, Any]) -> EpochFigures:
    """Return the figures of an `epoch` event."""
    return EpochFigures(**{field.name: event[field.name] for field in fields(EpochFigures)})


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
            return Progress(f"Waiting until {last['behind'] or 'another run'} has ended", share)
        case "decoding":
            return Progress(
                f"Decoding the pictures, once: {last['done']:,} of {last['total']:,}", share
            )
        case "dataset":
            return Progress("Loading the network", share)
        case "started":
            return Progress("Reading the dataset", share)
        case "storing":
            return Progress("Judging the best epoch on test and auditing it for shortcuts", 1.0)
        case "finished":
            return Progress("Ending", 1.0)
        case "epoch":
            if config is None or done == total:
                return Progress("Ending", share)
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
    """Progress inside an epoch: by the pace of the epochs before, in the first one by that of its own steps."""
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
    """Return everything that a run was asked to do, by the words that the form uses."""
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
    values["Pictures excluded"] = len(config.excluded)
    unreadable = "left out" if config.skip_unreadable else "end the run"
    values |= {"File of initial weights": config.init_file or "", "Unreadable pictures": unreadable}
    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


def differences(configs: Sequence[RunConfig]) -> dict[str, tuple[str, ...]]:
    """Return the settings in which runs differ, with the value of each."""
    each = [settings(config) for config in configs]
    return {
        name: tuple(own[name] for own in each)
        for name in each[0]
        if len({own[name] for own in each}) > 1
    }
