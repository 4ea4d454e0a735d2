"""Single pictures: what a model says of them and why."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from tqdm import tqdm

from covidxr.datasets.phantoms import render_phantom
from covidxr.errors import ModelError
from covidxr.explanation.settings import map_settings
from covidxr.figures import heat_overlay
from covidxr.images.burned_in_text import BURNED_IN_TEXT, has_burned_in_text
from covidxr.images.radiograph import Radiograph, padding
from covidxr.images.reading import read_image
from covidxr.models.classifier import Classifier
from covidxr.prediction.log import log_use
from covidxr.prediction.worklist import WorklistRow, list_pictures, score_pictures, worklist_csv
from covidxr.records import Attribution, GreyImage, Stability
from covidxr.reports.sentences import prediction_set
from covidxr.storage import write_bytes, write_text

TURN = 5
"""Degrees: as far as patients lean, and less than the recipes turn pictures by in training."""


def stability(model: Classifier, image: GreyImage) -> Stability:
    """Return what becomes of a model's answer when a picture, (H, W) uint8, is mirrored and turned by 5 degrees to either side.

    Raises ImageError when the model sees only lungs and none are found.
    """
    card = model.card
    seen = Image.fromarray(model.view(image).pixels)
    both = (seen, ImageOps.mirror(seen))
    versions = [
        one.rotate(angle, Image.Resampling.BICUBIC) for one in both for angle in (0, -TURN, TURN)
    ]
    pixels = np.stack([np.asarray(one) for one in versions])
    scores = model.scores(pixels)
    names, called = card.class_names, scores.argmax(axis=1)
    ranges = {
        name: (float(own.min()), float(own.max()))
        for name, own in zip(names, scores.T, strict=True)
    }
    return Stability(ranges, tuple(names[k] for k in called))


def explain(
    model: Classifier,
    image: GreyImage,
    target: str,
    method: str = "",
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Attribution:
    """Return the map of one class for one picture, (H, W) uint8; the map lies on the picture padded to a square.

    method: one of METHOD_TITLES, in the kind that points best by the model's card; without it, the best of all.
    watch: told how many steps of how many are done; what it raises, such as Cancelled, ends the work.
    Raises ImageError when the model sees only lungs and none are found, ConfigError for a method that there is not.
    """
    from covidxr.explanation.attribution import attribute, place_on_square

    if target not in model.card.class_names:
        raise ModelError(
            f"{model.card.model_id} knows no class {target!r}; it knows {', '.join(model.card.class_names)}"
        )
    settings = map_settings(model.card, method)
    view = model.view(image)
    found = attribute(model, view.pixels, model.card.class_names.index(target), settings, watch)
    return replace(found, heat=place_on_square(found.heat, view.box))


def explain_randomized(
    model: Classifier, image: GreyImage, target: str, method: str = ""
) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """Return the map of one class for one picture as `explain_case` does, and those of the network made random layer by layer.

    Each comes with the layer down to which the network is random, the first with none.
    """
    from covidxr.explanation.attribution import place_on_square
    from covidxr.explanation.faithfulness import randomised_maps

    view, targets = model.view(image), np.array([model.card.class_names.index(target)])
    found = randomised_maps(model, view.pixels[None], targets, map_settings(model.card, method))
    return [
        (name, place_on_square(maps[0] / max(float(np.abs(maps[0]).max()), 1e-12), view.box))
        for name, maps in found
    ]


def padding_sentence(image: GreyImage) -> str | None:
    """Say how much black was added to make a picture square; None when it is square already."""
    left, top, right, bottom = padding(*image.shape)
    if not any((left, top, right, bottom)):
        return None
    where = "left and right" if left + right else "above and below"
    share = (left + top + right + bottom) / max(image.shape)
    return f"The picture is not square: black was added {where}, {share * 100:.0f} % of what the model sees; nothing was cropped."


def reading_warnings(radiograph: Radiograph) -> tuple[str, ...]:
    """Return a picture file's warnings, and that there may be writing in it, looked for more thoroughly than many at once allow."""
    if BURNED_IN_TEXT in radiograph.warnings or not has_burned_in_text(radiograph.image):
        return radiograph.warnings
    return (*radiograph.warnings, BURNED_IN_TEXT)


def sample_phantom(class_name: str, seed: int = 0) -> GreyImage:
    """Return a synthetic phantom, (256, 256) uint8, for trying a page without a radiograph."""
    return render_phantom(class_name, np.random.default_rng(seed))[0]


def predict_files(
    model: Classifier,
    sources: Iterable[Path],
    heat_maps: Path | None = None,
    table: Path | None = None,
) -> list[dict[str, Any]]:
    """Predict the pictures in files, folders and zips; a row each: path, probabilities and predicted, or path and error.

    Where the model's card has prediction sets, so has the row: `prediction_set`, the names of its classes.
    A picture that the model may not judge has its refusals for an error, and the verdict `refused` instead of `unreadable`.
    heat_maps: folder for a PNG of each picture under the heat map of its predicted class.
    table: file for the rows as CSV, see `worklist_csv`.
    Raises ImageError for a source that does not exist or holds no pictures.
    """
    sets = model.card.prediction_sets
    rows: list[dict[str, Any]] = []
    done: list[WorklistRow] = []
    with ExitStack() as stack:
        pictures = list_pictures(sources, stack)
        scored = tqdm(
            score_pictures(model, pictures), total=len(pictures), desc="predicting", disable=None
        )
        for picture, row in zip(pictures, scored, strict=True):
            done.append(row)
            log_use(model.card, row.input_sha256, row.verdict, row.predicted)
            if row.verdict != "answered":
                rows.append(
                    {
                        "path": row.name,
                        "verdict": row.verdict,
                        "error": row.error or " ".join(row.refusals),
                    }
                )
                continue
            rows.append(
                {"path": row.name, "probabilities": row.probabilities, "predicted": row.predicted}
            )
            if sets is not None:
                rows[-1]["prediction_set"] = prediction_set(sets, row.probabilities)
            if row.warnings:
                rows[-1]["warnings"] = list(row.warnings)
            if heat_maps is not None and row.predicted is not None:
                # Numbered, since pictures of different folders may share a name.
                file = heat_maps / f"{len(rows):04d}-{Path(row.name).stem}-{row.predicted}.png"
                image = read_image(picture.read(), row.name)
                write_overlay(image, explain(model, image, row.predicted), file)
                rows[-1]["heat_map"] = str(file)
    if table is not None:
        write_text(table, worklist_csv(done, model.card.class_names, sets))
    return rows


def write_overlay(image: GreyImage, attribution: Attribution, file: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(heat_overlay(image, attribution.heat, opacity=0.6)).save(buffer, format="PNG")
    write_bytes(file, buffer.getvalue())
