"""Runs for those outside: as a command line, and as TensorBoard event files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from covidxr.errors import ConfigError
from covidxr.models.recipes import recipe as named
from covidxr.records import Augmentation, Recipe, SplitFractions
from covidxr.runs.journal import RunConfig, RunFolder


def train_arguments(config: RunConfig, run_dir: Path, exclusions: str = "") -> list[str]:
    """Return what to write after `covidxr` to start a run whose model is made later; the recipe's own values are left out.

    exclusions: file that lists what `config.excluded` holds.
    """
    base, chosen = named(config.recipe.name), config.recipe
    arguments = ["train", "--data", config.data, "--recipe", chosen.name]
    for field in (*fields(Recipe), *fields(Augmentation)):
        if field.name in ("name", "init", "augmentation"):
            continue
        before, after = (
            getattr(r if hasattr(r, field.name) else r.augmentation, field.name)
            for r in (base, chosen)
        )
        option = field.name.replace("_", "-")
        if before != after:
            arguments += (
                [f"--{'' if after else 'no-'}{option}"]
                if isinstance(after, bool)
                else [f"--{option}", str(after)]
            )
    if config.init_file or chosen.init != base.init:
        arguments += ["--init", config.init_file or chosen.init]
    arguments += ["--protocol", config.plan.protocol, "--split-seed", str(config.plan.seed)]
    if config.plan.fractions != SplitFractions():
        arguments += [
            "--fractions",
            "/".join(f"{share:g}" for share in astuple(config.plan.fractions)),
        ]
    arguments += ["--skip-unreadable"] if config.skip_unreadable else []
    arguments += ["--exclude", exclusions] if exclusions else []
    return [*arguments, "--run-dir", str(run_dir), "--no-store"]


def export_tensorboard(runs: Sequence[RunFolder], folder: Path) -> dict[str, int]:
    """Write each run's curves as TensorBoard event files to a folder of its name; return the number of epochs of each.

    Raises ConfigError when TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed: pip install tensorboard") from None
    written = {}
    for run in runs:
        recipe: dict[str, Any] = asdict(run.config().recipe)
        epochs = run.epochs()
        for old in (folder / run.path.name).glob("events.out.tfevents.*"):
            old.unlink()  # or the curves would be there twice
        with SummaryWriter(str(folder / run.path.name)) as writer:
            writer.add_text(
                "recipe", "\n".join(f"    {key}: {value}" for key, value in recipe.items())
            )
            for event in epochs:
                seconds = datetime.fromisoformat(event["time"]).timestamp()
                for tag in ("loss", "accuracy", "macro_f1"):
                    for part in ("train", "val"):
                        if (key := f"{part}_{tag}") in event:
                            writer.add_scalar(f"{tag}/{part}", event[key], event["epoch"], seconds)
                writer.add_scalar(
                    "images_per_second", event["images_per_second"], event["epoch"], seconds
                )
        written[run.path.name] = len(epochs)
    return written
