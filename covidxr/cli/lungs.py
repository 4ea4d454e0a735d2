"""Commands about the lungs and what a model makes of them: train-lungs, audit."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.console import Console

from covidxr.cards import SegmenterRecipe
from covidxr.cli.output import Data, Json, Protocol, Seed, make_table, print_result
from covidxr.formatting import percent
from covidxr.records import SplitPlan


def train_lungs(
    data: Data = None,
    epochs: Annotated[
        int, typer.Option(help="How often the network sees every picture that has a mask.")
    ] = SegmenterRecipe().epochs,
    protocol: Protocol = "grouped",
    split_seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train the lung segmenter on the masks of a dataset, judge it on test and store it as covidxr-lungs.

    Example: covidxr train-lungs --data COVID-19_Radiography_Dataset
    """
    from covidxr.config import weights_folder
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.lungs.training import train_lungs as train_lungs_

    recipe, plan = SegmenterRecipe(epochs=epochs), SplitPlan(protocol, split_seed)  # type: ignore[arg-type]
    card = train_lungs_(open_dataset(data or default_dataset()), recipe, plan, weights_folder())

    def show(console: Console) -> None:
        rows = [[name, percent(figure, brief=True)] for name, figure in card.metrics.items()]
        n = sum(card.mask_counts["test"].values())
        console.print(
            make_table(f"{card.model_id} on {n:,} test pictures", ["figure", "value"], rows)
        )

    print_result(asdict(card), as_json, show)


def audit(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a stored model's shortcut audit, prediction sets and gate anew and write them into its card.

    Example: covidxr audit covidxr-resnet18 --data COVID-19_Radiography_Dataset
    """
    from covidxr.config import weights_folder
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.datasets.splits import split_as_trained
    from covidxr.evaluation.shortcut_audit import audit_model
    from covidxr.models import store
    from covidxr.prediction.loading import find_segmenter, load_classifier
    from covidxr.reports.model_card import shortcut_sentences

    root = weights_folder()
    classifier = load_classifier(model, with_detector=False)
    splits = split_as_trained(open_dataset(data or default_dataset()), classifier.card)
    predictions = store.read_predictions(root / model)
    audited, detector = audit_model(classifier, splits, predictions, find_segmenter())
    # Its heat maps may have been evaluated meanwhile: only what was audited here is replaced.
    card = replace(
        store.read_card(root / model),
        shortcuts=audited.shortcuts,
        prediction_sets=audited.prediction_sets,
        gate=audited.gate,
    )
    store.update_card(root, card, detector)

    def show(console: Console) -> None:
        for sentence in shortcut_sentences(card):
            console.print(f"- {sentence}", markup=False, highlight=False)

    print_result(
        {"model_id": model, "shortcuts": [asdict(check) for check in card.shortcuts]}, as_json, show
    )
