"""Reproduction of the baseline study: its recipes trained on a dataset, and both results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from covidxr.errors import RunError
from covidxr.models import store
from covidxr.models.recipes import STUDY_ACCURACY, recipe
from covidxr.records import SplitPlan
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.publish import publish
from covidxr.runs.train import resume, train


def reproduce(
    data: Path,
    folder: Path,
    plan: SplitPlan,
    init_file: Path | None = None,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Train the four recipes of the baseline study. The same call continues an interrupted one.

    Args:
        data: Path of the dataset.
        folder: For the runs; the models are stored in its `weights/`.
        plan: How the dataset is split.
        init_file: Safetensors file of ImageNet weights; None for a download.
        epochs: Of every recipe; None for each recipe's own.

    Returns:
        One JSON object with the published accuracy of each recipe and the metrics here.

    Raises:
        RunError: For a run that was cancelled.
    """
    rows: list[dict[str, Any]] = []
    for name, study_accuracy in STUDY_ACCURACY.items():
        run = RunFolder(folder / name)
        if not (folder / "weights" / name).exists():
            chosen = recipe(name).override(**({"epochs": epochs} if epochs else {}))
            init = str(init_file.resolve()) if init_file else None
            config = RunConfig(chosen, plan, str(data), init)
            run = resume(run.path) if run.status() != "new" else train(config, run.path)
            if run.status() != "finished":
                raise RunError(
                    f"the run {run.path} is {run.status()}; repeat the command with the same "
                    "folder to continue"
                )
            publish(run.path, name, folder / "weights")
        card = store.read_card(folder / "weights" / name)
        metrics = {key: asdict(card.metrics[key]) for key in ("accuracy", "macro_f1")}
        rows.append(
            {
                "recipe": name,
                "study_accuracy": study_accuracy,
                "best_epoch": card.best_epoch,
                **metrics,
            }
        )
    counts = {
        name: sum(card.class_counts[split][name] for split in card.class_counts)
        for name in card.class_names
    }
    return {
        "data": card.dataset_name,
        "class_counts": counts,
        "protocol": card.split.protocol,
        "seed": card.split.seed,
        "n": sum(card.class_counts["test"].values()),
        "models": rows,
    }
