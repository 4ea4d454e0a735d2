"""The use cases: the only place where the rooms meet. Torch is loaded inside the functions that need it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import covidxr
from covidxr.data.dataset import Dataset, open_dataset
from covidxr.data.duplicates import THUMBNAIL, near_duplicates
from covidxr.data.files import open_files
from covidxr.data.images import SUFFIXES, fit_to_square, padding, read_image
from covidxr.data.phantom import render_phantom, write_phantoms
from covidxr.data.pixels import cache_folder, decode
from covidxr.data.splits import Split, group_samples, split_dataset, write_split
from covidxr.errors import CovidxrError, DatasetError, ImageError, ModelError, RunError
from covidxr.figures import heat_overlay
from covidxr.models import store
from covidxr.models.store import LoadedModel, ModelEntry
from covidxr.records import (
    Attribution,
    CasePrediction,
    GreyImage,
    Interval,
    ModelCard,
    Predictions,
    Preprocessing,
    SplitPlan,
)
from covidxr.reports.model_card import draft_card
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.storage import write_bytes

if TYPE_CHECKING:
    from torch import nn

read_picture = read_image


# Data


@dataclass(frozen=True, slots=True, eq=False)
class SplitData:
    """A dataset whose unreadable images are out, and its split."""

    dataset: Dataset
    split: Split


def default_dataset() -> Path:
    """Return the phantoms that stand in where no dataset is named; they are made on first use."""
    folder = cache_folder() / f"phantoms-{covidxr.__version__}"
    return folder if folder.exists() else write_phantoms(folder)


def split_data(path: Path | str, plan: SplitPlan, skip_unreadable: bool = False) -> SplitData:
    """Open a dataset, find its patients and twins, and divide it.

    Raises DatasetError for a wrong folder, a missing class or, unless `skip_unreadable`, an image that cannot be read.
    """
    dataset = open_dataset(path)
    thumbnails = decode(dataset, THUMBNAIL, skip_unreadable)
    dataset = dataset.without(thumbnails.skipped)
    twins = near_duplicates(thumbnails.array[thumbnails.rows([s.file for s in dataset.samples])])
    return SplitData(dataset, split_dataset(dataset, plan, group_samples(dataset.samples, twins)))


# Runs


def is_main_process() -> bool:
    """Whether this process speaks for the run: under torchrun only the first writes to disk."""
    return os.environ.get("RANK", "0") == "0"


def train(config: RunConfig, folder: Path) -> RunFolder:
    """Start a run in a folder and train until it is finished, cancelled or failed. Raises RunError when the folder holds a run."""
    run = RunFolder(folder)
    with run.hold() if is_main_process() else nullcontext():
        if is_main_process():
            run.create(config)
        _train(run, config)
    return run


def resume(folder: Path) -> RunFolder:
    """Go on with a run after its last finished epoch. Raises RunError when it is going on already, or is no run."""
    run = RunFolder(folder)
    config = run.config()
    with run.hold() if is_main_process() else nullcontext():
        _train(run, config)
    return run


def _train(run: RunFolder, config: RunConfig) -> None:
    from covidxr.models.training import Cancelled, TrainingData, fit

    report = run.report if is_main_process() else lambda event: None
    report({"event": "started"})
    try:
        data = split_data(config.data, config.plan, config.skip_unreadable)
        dataset, split = data.dataset, data.split
        report({"event": "dataset", "n": len(dataset.samples), "skipped": [list(entry) for entry in dataset.skipped]})
        pixels = decode(dataset, config.recipe.image_size, config.skip_unreadable)
        if is_main_process():
            run.cancel.unlink(missing_ok=True)
            write_split(split, dataset.class_names, run.split)
        rows = pixels.rows(split.files)
        labels = np.zeros(len(pixels.files), dtype=np.int64)
        labels[rows] = split.labels
        fitted = fit(
            config.recipe,
            TrainingData(pixels.array, labels, rows[split.rows("train")], rows[split.rows("val")], dataset.class_names),
            run.checkpoint,
            report,
            run.cancel.exists,
            Path(config.init_file) if config.init_file else None,
        )
    except (Cancelled, KeyboardInterrupt):
        report({"event": "cancelled"})
    except CovidxrError as error:
        report({"event": "failed", "reason": str(error)})
        raise
    else:
        report({"event": "finished", "best_epoch": fitted.best_epoch, "best_macro_f1": fitted.best_macro_f1})


def check_new_model(model_id: str, root: Path | None = None) -> None:
    """Raise ModelError when there is a model of that id already, or when the id is not a plain name."""
    root = root or weights_folder()
    if store.model_folder(root, model_id).exists():
        raise ModelError(f"there is a model {model_id} already in {root}; choose another id or delete it first")


def store_run(folder: Path, model_id: str, root: Path | None = None) -> ModelCard:
    """Make a model of a run's best epoch: judge the weights as they are stored on val and test, and write card and predictions.

    Raises RunError when the run has no finished epoch, ModelError when there is a model of that id already.
    """
    from covidxr.models.training import best_of_checkpoint

    root = root or weights_folder()
    check_new_model(model_id, root)
    run = RunFolder(folder)
    config, fitted = run.config(), best_of_checkpoint(run.checkpoint)
    data = split_data(config.data, config.plan, config.skip_unreadable)
    weights = store.to_half(fitted.weights)
    card = draft_card(model_id, config.recipe, data.dataset, data.split, fitted.origin, fitted.best_epoch, fitted.seconds)
    predictions = _predict_splits(store.restore_network(card, weights), card.preprocessing, data, ("val", "test"))
    card = _judge(card, predictions)
    store.save_model(root, card, weights, predictions)
    return store.read_card(root / model_id)


def _predict_splits(
    network: nn.Module, preprocessing: Preprocessing, data: SplitData, splits: Iterable[str], temperature: float = 1.0
) -> Predictions:
    from covidxr.models.inference import predict_scores

    split = data.split
    positions = np.concatenate([split.rows(name) for name in splits])
    files = [split.files[i] for i in positions]
    pixels = decode(data.dataset, preprocessing.image_size, skip_unreadable=True)
    scores = predict_scores(network, pixels.array, pixels.rows(files), preprocessing, temperature, progress="predicting")
    names = tuple(str(name) for name in split.names[positions])
    return Predictions(data.dataset.class_names, tuple(files), names, split.labels[positions], scores, split.groups[positions])


def _judge(card: ModelCard, predictions: Predictions) -> ModelCard:
    """Fit the temperature and choose the operating points on val, and write the figures on test into the card."""
    from covidxr.evaluation.calibration import apply_temperature, fit_temperature, operating_points

    val = predictions.take("val")
    temperature = fit_temperature(val.y_true, val.y_score)
    points = operating_points(val.y_true, apply_temperature(val.y_score, temperature), val.class_names)
    card = replace(card, temperature=temperature, operating_points=points)
    figures = asdict(_evaluate(card, predictions, "test"))
    metrics = {k: Interval(**v) for k, v in figures.items() if isinstance(v, dict) and set(v) == {"estimate", "low", "high"}}
    return replace(card, metrics=metrics)


def reproduce(
    data: Path, folder: Path, plan: SplitPlan, init_file: Path | None = None, epochs: int | None = None
) -> dict[str, Any]:
    """Train the study's four recipes on a dataset, going on where an earlier call stopped, and set its figures beside the study's.

    The models lie in `folder/weights`. epochs: for every recipe; None keeps each recipe's own.
    """
    from covidxr.models.recipes import STUDY_ACCURACY, recipe

    rows: list[dict[str, Any]] = []
    for name, study_accuracy in STUDY_ACCURACY.items():
        run = RunFolder(folder / name)
        if not (folder / "weights" / name).exists():
            chosen = recipe(name).override(**({"epochs": epochs} if epochs else {}))
            config = RunConfig(chosen, plan, str(data.resolve()), str(init_file.resolve()) if init_file else None)
            run = resume(run.path) if run.status() != "new" else train(config, run.path)
            if run.status() != "finished":
                raise RunError(f"the run {run.path} was {run.status()}; call reproduce again with the same folder to go on")
            store_run(run.path, name, folder / "weights")
        card = store.read_card(folder / "weights" / name)
        figures = {key: asdict(card.metrics[key]) for key in ("accuracy", "macro_f1")}
        rows.append({"recipe": name, "study_accuracy": study_accuracy, "best_epoch": card.best_epoch, **figures})
    return {
        "data": card.dataset_name,
        "class_counts": {name: sum(card.class_counts[split][name] for split in card.class_counts) for name in card.class_names},
        "protocol": card.split.protocol,
        "seed": card.split.seed,
        "n": sum(card.class_counts["test"].values()),
        "models": rows,
    }


# Models


def weights_folder() -> Path:
    """Return where the models lie: COVIDXR_WEIGHTS, else `weights/` beside the package."""
    return Path(os.environ.get("COVIDXR_WEIGHTS") or Path(covidxr.__file__).resolve().parents[1] / "weights")


def list_models() -> tuple[ModelEntry, ...]:
    """List the stored models, the best accuracy on test first."""
    return store.list_models(weights_folder())


def load_model(model_id: str) -> LoadedModel:
    """Load a stored model. Raises ModelError saying why it cannot be used."""
    return store.load_model(store.model_folder(weights_folder(), model_id))


def verify_models() -> dict[str, str | None]:
    """Load every model and its predictions; return the sentence that says what is wrong with each, or None."""
    return {entry.model_id: store.verify_model(weights_folder() / entry.model_id) for entry in list_models()}


def evaluate_model(model_id: str, data: Path | str | None = None, split: str = "test") -> dict[str, Any]:
    """Return a model's figures on a split, from its stored predictions, or anew from the images when `data` is given.

    Raises DatasetError when the dataset, divided by the model's plan, is not the one the model was trained on.
    """
    if data is None:
        folder = store.model_folder(weights_folder(), model_id)
        card, predictions = store.read_card(folder), store.read_predictions(folder)
    else:
        model = load_model(model_id)
        card = model.card
        divided = split_data(data, card.split)
        if divided.split.fingerprint != card.split_fingerprint:
            raise DatasetError(
                f"{data} is not the dataset that {model_id} was trained on (split {divided.split.fingerprint}, expected "
                f"{card.split_fingerprint}): some of its {split} images may have trained the model"
            )
        predictions = _predict_splits(model.network, card.preprocessing, divided, (split,))
    return {"model_id": model_id, **asdict(_evaluate(card, predictions, split))}


def compare_models(model_ids: Sequence[str], split: str = "test", intersect: bool = False) -> dict[str, Any]:
    """Compare models pair by pair on the same samples, from their stored predictions.

    Raises ConfigError when fewer than two are named, or when their samples differ and `intersect` does not allow for it.
    """
    from covidxr.evaluation.comparison import compare

    folders = [store.model_folder(weights_folder(), model_id) for model_id in model_ids]
    cards = [store.read_card(folder) for folder in folders]
    predictions = [store.read_predictions(folder) for folder in folders]
    groups = predictions[0].groups if predictions and cards[0].split.protocol == "grouped" else None
    return asdict(compare(list(zip(model_ids, predictions, strict=True)), intersect, split=split, groups=groups))


def _evaluate(card: ModelCard, predictions: Predictions, split: str) -> Any:
    from covidxr.evaluation.metrics import evaluate

    groups = predictions.groups if card.split.protocol == "grouped" else None
    return evaluate(predictions, split, temperature=card.temperature, groups=groups)


# Cases


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
    for name, content in (found for source in sources for found in _contents(source)):
        try:
            image = read_image(content, name)
        except ImageError as error:
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


def _contents(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each picture in a file, a folder or a zip."""
    if not source.exists():
        raise ImageError(f"there is no file or folder {source}")
    if source.is_file() and source.suffix.lower() != ".zip":
        yield str(source), source.read_bytes()
        return
    with open_files(source) as files:
        names = sorted(name for name in files.list() if name.lower().endswith(SUFFIXES))
        if not names:
            raise ImageError(f"{source} holds no PNG, JPEG or TIFF files")
        for name in names:
            yield f"{source}/{name}", files.read(name)
