"""Exports of runs: as a command line, and as TensorBoard event files."""

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
    """Return the arguments of `covidxr` for a run that is published later.

    Args:
        config: Of the run. Values that are those of the recipe are omitted.
        run_dir: Folder of the run.
        exclusions: CSV file of the excluded images (`config.excluded`); empty for none.
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
        if before == after:
            continue
        if isinstance(after, bool):
            arguments.append(f"--{option}" if after else f"--no-{option}")
        else:
            arguments += [f"--{option}", str(after)]
    if config.init_file or chosen.init != base.init:
        arguments += ["--init", config.init_file or chosen.init]
    arguments += ["--protocol", config.plan.protocol, "--split-seed", str(config.plan.seed)]
    if config.plan.fractions != SplitFractions():
        fractions = "/".join(f"{fraction:g}" for fraction in astuple(config.plan.fractions))
        arguments += ["--fractions", fractions]
    arguments += ["--skip-unreadable"] if config.skip_unreadable else []
    arguments += ["--exclude", exclusions] if exclusions else []
    return [*arguments, "--run-dir", str(run_dir), "--no-store"]


def export_tensorboard(runs: Sequence[RunFolder], folder: Path) -> dict[str, int]:
    """Write the learning curves of runs as TensorBoard event files, one folder per run.

    Args:
        runs: The runs.
        folder: For the folders.

    Returns:
        The number of epochs by the name of the run.

    Raises:
        ConfigError: If TensorBoard is not installed.
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
            # TensorBoard would show both curves.
            old.unlink()
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
