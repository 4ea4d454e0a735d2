"""Commands on heat maps: explain, explain-audit."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from tqdm import tqdm

from covidxr.cards import METHOD_TITLES, Localisation, MapSettings, Pointing
from covidxr.cli.output import Json, make_table, print_result
from covidxr.formatting import percent
from covidxr.records import RESEARCH_ONLY


def explain(
    model: Annotated[str, typer.Argument(help="Model id.")],
    file: Annotated[Path, typer.Argument(help="Picture: PNG, JPEG, TIFF or DICOM.")],
    out: Annotated[Path, typer.Option(help="PNG to write: the picture under its heat map.")],
    method: Annotated[
        str, typer.Option(help=f"{', '.join(METHOD_TITLES)}; without it, the one that points best.")
    ] = "",
    target: Annotated[
        str, typer.Option(help="Class to explain; without it, the predicted one.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write the heat map of one picture as PNG, and say how far maps of its kind may be trusted.

    Example: covidxr explain covidxr-resnet18 scan.png --method occlusion --out map.png
    """
    from covidxr.explanation.settings import map_settings
    from covidxr.images.reading import read_radiograph
    from covidxr.prediction.cases import explain as explain_class
    from covidxr.prediction.cases import write_overlay
    from covidxr.prediction.loading import load_classifier
    from covidxr.reports.sentences import trust_sentences

    classifier, radiograph = load_classifier(model), read_radiograph(file)
    prediction = classifier.predict(radiograph)

    with tqdm(desc="explaining", disable=None, leave=False) as bar:

        def watch(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = explain_class(
            classifier, radiograph.image, target or prediction.predicted, method, watch
        )
    write_overlay(radiograph.image, found, out)
    result = {
        "model_id": model,
        "path": str(file),
        "method": found.method,
        "settings": asdict(map_settings(classifier.card, found.method)),
        "target": found.target,
        "native_grid": found.native_grid,
        "out": str(out),
        "refusals": prediction.refusals,
        "sentences": trust_sentences(classifier.card, found.method),
    }

    def show(console: Console) -> None:
        console.print(
            f"{out}: {METHOD_TITLES[found.method]} for {result['target']}. {RESEARCH_ONLY}",
            markup=False,
        )
        for refusal in result["refusals"]:
            console.print(
                f"- Not judged: {refusal} The map deserves no belief.",
                markup=False,
                highlight=False,
            )
        for sentence in result["sentences"]:
            console.print(f"- {sentence}", markup=False, highlight=False)

    print_result(result, as_json, show)


def explain_audit(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: Annotated[
        Path, typer.Option(help="The model's dataset, with opacity_boxes.csv beside its images.")
    ],
    as_json: Json = False,
) -> None:
    """Put a stored model's heat maps to the test and write what came out into its card; takes many minutes.

    Example: covidxr explain-audit covidxr-resnet18 --data COVID-19_Radiography_Dataset
    """
    from covidxr.config import weights_folder
    from covidxr.datasets.opening import open_dataset
    from covidxr.explanation import audit
    from covidxr.models import store
    from covidxr.prediction.loading import find_segmenter, load_classifier

    root = weights_folder()
    classifier, dataset, segmenter = load_classifier(model), open_dataset(data), find_segmenter()
    predictions = store.read_predictions(root / model)
    boxes = audit.measure_localization(classifier, dataset, predictions, segmenter)
    card = store.read_card(root / model)
    card = replace(card, localisation=boxes or card.localisation)
    store.update_card(root, card)
    # The other parts explain by the configuration that points best.
    classifier = replace(classifier, card=card)
    shares = audit.measure_lung_shares(classifier, dataset, predictions, segmenter)
    card = store.read_card(root / model)
    card = replace(card, lung_shares=shares or card.lung_shares)
    store.update_card(root, card)
    faithful = audit.measure_faithfulness(classifier, dataset, predictions)
    card = replace(store.read_card(root / model), faithfulness=faithful)
    store.update_card(root, card)

    def show(console: Console) -> None:
        # Two tables, since one would be cut off on a terminal of 80 columns.
        for split in ("val", "test"):
            rows = [[_kind(one), *_row(getattr(one, split))] for one in card.localisation]
            title = f"Points into a radiologist's box, on {split}; gain on the best constant map"
            console.print(make_table(title, ["map", "n", "hits", "gain"], rows))
        rows = [
            [
                share.target,
                _write(share.settings),
                str(share.n),
                percent(share.inside, brief=True),
                percent(share.lungs, brief=True),
            ]
            for share in card.lung_shares
        ]
        console.print(
            make_table(
                "Inside the lungs",
                ["class", "map", "n", "of the map", "lungs, of the picture"],
                rows,
            )
        )
        rows = [
            [
                _write(one.settings),
                str(one.n),
                percent(one.deletion_gain, brief=True),
                percent(one.insertion_gain, brief=True),
            ]
            for one in card.faithfulness
        ]
        console.print(
            make_table("Areas less those of noise", ["map", "n", "deletion", "insertion"], rows)
        )

    parts = ("localisation", "lung_shares", "faithfulness")
    print_result(
        {"model_id": model}
        | {name: [asdict(one) for one in getattr(card, name)] for name in parts},
        as_json,
        show,
    )


def _kind(one: Localisation) -> str:
    return _write(one.settings) if one.settings else f"({one.rival})"


def _write(settings: MapSettings) -> str:
    """Write a kind of map: `HiResCAM layer3, contrast, smoothed 0.06`."""
    parts = [f"{METHOD_TITLES[settings.method]} {settings.layer}".strip(), settings.score]
    parts += ["nearest"] if settings.interpolation == "nearest" else []
    parts += [f"window {settings.window:g}"] if settings.window else []
    parts += [f"smoothed {settings.smoothing:g}"] if settings.smoothing else []
    return ", ".join(parts)


def _row(part: Pointing) -> list[str]:
    return [str(part.n), percent(part.hits, brief=True), percent(part.gain, brief=True)]
