"""Commands on heat maps: explain, explain-audit."""

from __future__ import annotations

from dataclasses import asdict
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
    from covidxr.prediction.cases import explain_file

    with tqdm(desc="explaining", disable=None, leave=False) as bar:

        def watch(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = explain_file(model, file, out, method, target, watch)

    def show(console: Console) -> None:
        console.print(
            f"{out}: {METHOD_TITLES[result['method']]} for {result['target']}. {RESEARCH_ONLY}",
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
    from covidxr.explanation.audit import audit_maps

    card = audit_maps(model, data)

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
