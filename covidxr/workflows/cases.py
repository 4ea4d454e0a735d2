"""Single pictures: what a model says of them and why."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from covidxr.data.files import open_files
from covidxr.data.images import SUFFIXES, fit_to_square, padding, read_image
from covidxr.data.phantom import render_phantom
from covidxr.errors import DatasetError, ImageError, ModelError
from covidxr.figures import heat_overlay
from covidxr.models.store import LoadedModel
from covidxr.records import Attribution, CasePrediction, GreyImage
from covidxr.storage import write_bytes
from covidxr.workflows.models import load_model

read_picture = read_image


def predict_case(model: LoadedModel, image: GreyImage) -> CasePrediction:
    """Return the calibrated class probabilities of one picture, (H, W) uint8."""
    from covidxr.models.inference import predict_scores

    preprocessing = model.card.preprocessing
    pixels = fit_to_square(image, preprocessing.image_size)[None]
    with model.lock:
        scores = predict_scores(model.network, pixels, np.array([0]), preprocessing, model.card.temperature)[0]
    return CasePrediction(model.card.model_id, dict(zip(model.card.class_names, map(float, scores), strict=True)))


def explain_case(model: LoadedModel, image: GreyImage, target: str) -> Attribution:
    """Return the Grad-CAM map of one class for one picture, (H, W) uint8; the map lies on the picture padded to a square."""
    from covidxr.explanation.attribution import grad_cam

    if target not in model.card.class_names:
        raise ModelError(f"{model.card.model_id} knows no class {target!r}; it knows {', '.join(model.card.class_names)}")
    pixels = fit_to_square(image, model.card.preprocessing.image_size)
    return grad_cam(model, pixels, model.card.class_names.index(target))


def padding_sentence(image: GreyImage) -> str | None:
    """Say how much black was added to make a picture square; None when it is square already."""
    left, top, right, bottom = padding(*image.shape)
    if not any((left, top, right, bottom)):
        return None
    where = "left and right" if left + right else "above and below"
    share = (left + top + right + bottom) / max(image.shape)
    return f"The picture is not square: black was added {where}, {share * 100:.0f} % of what the model sees; nothing was cropped."


def sample_phantom(class_name: str, seed: int = 0) -> GreyImage:
    """Return a synthetic phantom, (256, 256) uint8, for trying a page without a radiograph."""
    return render_phantom(class_name, np.random.default_rng(seed))[0]


def predict_paths(model_id: str, sources: Iterable[Path], explain: Path | None = None) -> list[dict[str, Any]]:
    """Predict the pictures in files, folders and zips; a row each: path, probabilities and predicted, or path and error.

    explain: folder for a PNG of each picture under the heat map of its predicted class.
    Raises ImageError for a source that does not exist or holds no pictures.
    """
    model = load_model(model_id)
    rows: list[dict[str, Any]] = []
    for name, read in (found for source in sources for found in _contents(source)):
        try:
            image = read_image(read(), name)
        except (ImageError, DatasetError) as error:  # the picture's fault, or that of its place in the zip
            rows.append({"path": name, "error": str(error)})
            continue
        case = predict_case(model, image)
        rows.append({"path": name, "probabilities": case.probabilities, "predicted": case.predicted})
        if explain is not None:
            # Numbered, since pictures of different folders may share a name.
            file = explain / f"{len(rows):04d}-{Path(name).stem}-{case.predicted}.png"
            _write_overlay(image, explain_case(model, image, case.predicted), file)
            rows[-1]["heat_map"] = str(file)
    return rows


def _write_overlay(image: GreyImage, attribution: Attribution, file: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(heat_overlay(image, attribution.heat, opacity=0.6)).save(buffer, format="PNG")
    write_bytes(file, buffer.getvalue())


def _contents(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the name of each picture in a file, a folder or a zip, with what reads its bytes."""
    if not source.exists():
        raise ImageError(f"there is no file or folder {source}")
    if source.is_file() and source.suffix.lower() != ".zip":
        yield str(source), source.read_bytes
        return
    with open_files(source) as files:
        names = sorted(name for name in files.list() if name.lower().endswith(SUFFIXES))
        if not names:
            raise ImageError(f"{source} holds no PNG, JPEG, TIFF or DICOM files")
        for name in names:
            yield f"{source}/{name}", partial(files.read, name)
