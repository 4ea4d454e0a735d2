"""Predictions, heat maps and test-time stability of single images."""

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

from covidxr.cards import PredictionSets
from covidxr.datasets.phantoms import render_phantom
from covidxr.errors import ModelError
from covidxr.explanation.settings import map_settings
from covidxr.figures import heat_overlay
from covidxr.images.burned_in_text import BURNED_IN_TEXT, has_burned_in_text
from covidxr.images.radiograph import Radiograph, padding
from covidxr.images.reading import read_image
from covidxr.models.classifier import Classifier
from covidxr.prediction.log import log_use
from covidxr.prediction.worklist import WorklistRow, list_images, predict_images, worklist_csv
from covidxr.records import Attribution, GrayImage, Stability
from covidxr.reports.sentences import prediction_set
from covidxr.storage import write_bytes, write_text

_ROTATION = 5
"""Degrees: within patient positioning, and less than the recipes' augmentation."""


def stability(model: Classifier, image: GrayImage) -> Stability:
    """Predict an image and its horizontal flip, each rotated by -5, 0 and +5 degrees.

    Args:
        model: The classifier.
        image: (H, W) uint8.

    Returns:
        The range of each probability and the predicted class of each of the six versions.

    Raises:
        ImageError: When the model's input is the lungs and none are found.
    """
    original = Image.fromarray(model.view(image).pixels)
    versions = [
        version.rotate(angle, Image.Resampling.BICUBIC)
        for version in (original, ImageOps.mirror(original))
        for angle in (0, -_ROTATION, _ROTATION)
    ]
    scores = model.scores(np.stack([np.asarray(version) for version in versions]))
    names = model.card.class_names
    ranges = {
        name: (float(own.min()), float(own.max()))
        for name, own in zip(names, scores.T, strict=True)
    }
    return Stability(ranges, tuple(names[k] for k in scores.argmax(axis=1)))


def explain(
    model: Classifier,
    image: GrayImage,
    target: str,
    method: str = "",
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Attribution:
    """Explain the score of one class by a heat map.

    Args:
        model: The classifier.
        image: (H, W) uint8.
        target: Name of the class.
        method: One of METHOD_TITLES, in the configuration with the best localization by the
            model's card; empty for the best of all methods.
        watch: Receives the completed and the total number of steps. What it raises, such as
            Cancelled, stops the work.

    Returns:
        The heat map on the image padded to a square.

    Raises:
        ConfigError: For an unknown method.
        ModelError: For an unknown class.
        ImageError: When the model's input is the lungs and none are found.
    """
    from covidxr.explanation.attribution import attribute, place_on_square

    names = model.card.class_names
    if target not in names:
        raise ModelError(
            f"{model.card.model_id} has no class {target!r}; choose one of {', '.join(names)}"
        )
    settings = map_settings(model.card, method)
    view = model.view(image)
    found = attribute(model, view.pixels, names.index(target), settings, watch)
    return replace(found, heat=place_on_square(found.heat, view.box))


def explain_randomized(
    model: Classifier, image: GrayImage, target: str, method: str = ""
) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """Explain one class by the trained network and by the network randomized layer by layer.

    Args:
        model: The classifier.
        image: (H, W) uint8.
        target: Name of the class.
        method: As in `explain`.

    Returns:
        Heat maps (S, S) as of `explain`, each with the layer through which the network is
        randomized; the first is that of the trained network, with an empty name.
    """
    from covidxr.explanation.attribution import place_on_square
    from covidxr.explanation.faithfulness import randomized_attributions

    view, targets = model.view(image), np.array([model.card.class_names.index(target)])
    found = randomized_attributions(
        model, view.pixels[None], targets, map_settings(model.card, method)
    )
    return [
        (name, place_on_square(maps[0] / max(float(np.abs(maps[0]).max()), 1e-12), view.box))
        for name, maps in found
    ]


def padding_sentence(image: GrayImage) -> str | None:
    """Describe the padding of an image, (H, W), to a square; None for a square image."""
    left, top, right, bottom = padding(*image.shape)
    if not any((left, top, right, bottom)):
        return None
    where = "left and right" if left + right else "above and below"
    share = (left + top + right + bottom) / max(image.shape)
    return (
        f"The image is not square: black was added {where} ({share:.0%} of the input). "
        "Nothing was cropped."
    )


def reading_warnings(radiograph: Radiograph) -> tuple[str, ...]:
    """Return the warnings of a radiograph, with a search for burned-in text.

    The search is too slow for worklists.
    """
    if BURNED_IN_TEXT in radiograph.warnings or not has_burned_in_text(radiograph.image):
        return radiograph.warnings
    return (*radiograph.warnings, BURNED_IN_TEXT)


def sample_phantom(class_name: str, seed: int = 0) -> GrayImage:
    """Return a synthetic phantom, (256, 256) uint8, for trials without a radiograph."""
    return render_phantom(class_name, np.random.default_rng(seed))[0]


def predict_files(
    model: Classifier,
    sources: Iterable[Path],
    heat_maps: Path | None = None,
    table: Path | None = None,
) -> list[dict[str, Any]]:
    """Predict the images in files, folders and zips.

    Args:
        model: The classifier.
        sources: Files, folders and zips.
        heat_maps: Folder for a PNG per image with the heat map of its predicted class.
        table: File for the rows as CSV, see `worklist_csv`.

    Returns:
        One row per image, with its `path`, and `probabilities`, `predicted` and, where the card
        has prediction sets, `prediction_set`. A rejected or unreadable image has a `verdict`
        (refused or unreadable) and an `error` instead.

    Raises:
        ImageError: For a source that does not exist or has no images.
    """
    sets = model.card.prediction_sets
    rows: list[dict[str, Any]] = []
    done: list[WorklistRow] = []
    with ExitStack() as stack:
        images = list_images(sources, stack)
        scored = tqdm(
            predict_images(model, images), total=len(images), desc="predicting", disable=None
        )
        for image, row in zip(images, scored, strict=True):
            done.append(row)
            log_use(model.card, row.input_sha256, row.verdict, row.predicted)
            rows.append(_row_json(row, sets))
            if heat_maps is not None and row.verdict == "answered" and row.predicted:
                # Numbered, since images of different folders may have the same name.
                file = heat_maps / f"{len(rows):04d}-{Path(row.name).stem}-{row.predicted}.png"
                values = read_image(image.read(), row.name)
                write_overlay(values, explain(model, values, row.predicted), file)
                rows[-1]["heat_map"] = str(file)
    if table is not None:
        write_text(table, worklist_csv(done, model.card.class_names, sets))
    return rows


def _row_json(row: WorklistRow, sets: PredictionSets | None) -> dict[str, Any]:
    if row.verdict != "answered":
        error = row.error or " ".join(row.rejections)
        return {"path": row.name, "verdict": row.verdict, "error": error}
    found: dict[str, Any] = {
        "path": row.name,
        "probabilities": row.probabilities,
        "predicted": row.predicted,
    }
    if sets is not None:
        found["prediction_set"] = prediction_set(sets, row.probabilities)
    if row.warnings:
        found["warnings"] = list(row.warnings)
    return found


def write_overlay(image: GrayImage, attribution: Attribution, file: Path) -> None:
    """Write an image, (H, W) uint8, with its heat map as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(heat_overlay(image, attribution.heat, opacity=0.6)).save(buffer, format="PNG")
    write_bytes(file, buffer.getvalue())
