"""Commands on heat maps: explain, explain-audit."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from tqdm import tqdm

from covidxr.cards import METHOD_TITLES, Localization, MapSettings, Pointing
from covidxr.cli.output import Json, make_table, print_lines, print_result
from covidxr.formatting import decimal_difference, percent
from covidxr.records import RESEARCH_ONLY, display_name


def explain(
    model: Annotated[str, typer.Argument(help="Model ID.")],
    file: Annotated[Path, typer.Argument(help="Image: PNG, JPEG, TIFF or DICOM.")],
    out: Annotated[Path, typer.Option(help="PNG to write: the image with its heat map.")],
    method: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(METHOD_TITLES)}. Default: best localization on validation images."
        ),
    ] = "",
    target: Annotated[
        str, typer.Option(help="Class to explain. Default: the predicted class.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write the heat map of one image as PNG, and print how reliable this type of heat map is.

    Example: covidxr explain covidxr-resnet18 scan.png --method occlusion --out heatmap.png
    """
    from covidxr.explanation.settings import map_settings
    from covidxr.images.reading import read_radiograph
    from covidxr.prediction.cases import explain as explain_class
    from covidxr.prediction.cases import write_overlay
    from covidxr.prediction.loading import load_classifier
    from covidxr.reports.sentences import localization_sentences

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
        "refusals": prediction.rejections,
        "sentences": localization_sentences(classifier.card, found.method),
    }

    def show(console: Console) -> None:
        print_lines(
            console,
            f"{out}: {METHOD_TITLES[found.method]}, {display_name(found.target)}. {RESEARCH_ONLY}",
            *(
                f"- Input check failed: {refusal} The heat map is unreliable."
                for refusal in prediction.rejections
            ),
            *(f"- {sentence}" for sentence in result["sentences"]),
        )

    print_result(result, as_json, show)


def explain_audit(
    model: Annotated[str, typer.Argument(help="Model ID.")],
    data: Annotated[
        Path, typer.Option(help="The model's own dataset, with its opacity_boxes.csv.")
    ],
    as_json: Json = False,
) -> None:
    """Validate a model's heat maps and update its card. Takes many minutes.

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
    # The other parts use the configuration with the best localization.
    classifier = replace(classifier, card=card)
    shares = audit.measure_lung_shares(classifier, dataset, predictions, segmenter)
    card = store.read_card(root / model)
    card = replace(card, lung_shares=shares or card.lung_shares)
    store.update_card(root, card)
    faithful = audit.measure_faithfulness(classifier, dataset, predictions)
    card = replace(store.read_card(root / model), faithfulness=faithful)
    store.update_card(root, card)

    def show(console: Console) -> None:
        # Two tables: one would not fit into 80 columns.
        for split in ("val", "test"):
            rows = [[_configuration(one), *_row(getattr(one, split))] for one in card.localisation]
            title = (
                f"Hit rate in annotated opacities, {split}; gain over the fixed-location baseline"
            )
            console.print(make_table(title, ["heat map", "n", "hit rate", "gain"], rows))
        rows = [
            [
                display_name(share.target),
                _write(share.settings),
                str(share.n),
                percent(share.inside, brief=True),
                percent(share.lungs, brief=True),
            ]
            for share in card.lung_shares
        ]
        columns = ["class", "heat map", "n", "energy in lungs", "lung area"]
        console.print(make_table("Heat-map energy within the lungs", columns, rows))
        rows = [
            [
                _write(one.settings),
                str(one.n),
                decimal_difference(one.deletion_gain),
                decimal_difference(one.insertion_gain),
            ]
            for one in card.faithfulness
        ]
        title = "Deletion and insertion: AUC minus that of noise"
        console.print(make_table(title, ["heat map", "n", "deletion", "insertion"], rows))

    parts = ("localisation", "lung_shares", "faithfulness")
    result = {name: [asdict(one) for one in getattr(card, name)] for name in parts}
    print_result({"model_id": model} | result, as_json, show)


def _configuration(one: Localization) -> str:
    return _write(one.settings) if one.settings else f"({one.rival})"


def _write(settings: MapSettings) -> str:
    """Write a heat map's configuration: `HiResCAM layer3, contrast, smoothed 0.06`."""
    parts = [f"{METHOD_TITLES[settings.method]} {settings.layer}".strip(), settings.score]
    parts += ["nearest"] if settings.interpolation == "nearest" else []
    parts += [f"window {settings.window:g}"] if settings.window else []
    parts += [f"smoothed {settings.smoothing:g}"] if settings.smoothing else []
    return ", ".join(parts)


def _row(part: Pointing) -> list[str]:
    return [str(part.n), percent(part.hits, brief=True), decimal_difference(part.gain)]
