"""The command on the lung segmenter: train-lungs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from covidxr.cards import SegmenterRecipe
from covidxr.cli.output import Data, Json, Protocol, Seed, make_table, print_result
from covidxr.formatting import count, percent
from covidxr.records import SplitPlan


def train_lungs(
    data: Data = None,
    epochs: Annotated[
        int, typer.Option(help="Passes over the training images that have a lung mask.")
    ] = SegmenterRecipe().epochs,
    protocol: Protocol = "grouped",
    split_seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train the lung segmenter on a dataset's lung masks, evaluate it, and store it.

    It is evaluated on the test split and stored as covidxr-lungs.

    Example: covidxr train-lungs --data COVID-19_Radiography_Dataset
    """
    from covidxr.config import weights_folder
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.lungs.training import train_lungs as train_lungs_

    recipe, plan = SegmenterRecipe(epochs=epochs), SplitPlan(protocol, split_seed)  # type: ignore[arg-type]
    card = train_lungs_(open_dataset(data or default_dataset()), recipe, plan, weights_folder())

    def show(console: Console) -> None:
        rows = [[name, percent(value, brief=True)] for name, value in card.metrics.items()]
        n = count(sum(card.mask_counts["test"].values()), "test image")
        title = f"{card.model_id}, {n}, with 95% CI"
        console.print(make_table(title, ["metric", "value"], rows))

    print_result(asdict(card), as_json, show)
