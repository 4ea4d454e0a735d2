"""Storage of models: a folder with weights, card and predictions, written atomically.

Torch is imported only by the functions that handle weights.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from covidxr.cards import CARD_SCHEMA_VERSION, ModelCard, SegmenterCard
from covidxr.errors import ConfigError, ModelError
from covidxr.records import Predictions
from covidxr.storage import from_json, new_folder, to_json, write_bytes, write_text

if TYPE_CHECKING:
    from torch import Tensor, nn


LUNGS, LUNGS_ARCHITECTURE = "covidxr-lungs", "residual U-Net (MONAI)"
"""Id and architecture of the lung segmenter: a model folder with a `SegmenterCard`."""
DETECTOR_FILE = "gate.safetensors"
Card = TypeVar("Card", ModelCard, SegmenterCard)
_WEIGHTS, _CARD, _PREDICTIONS = "model.safetensors", "card.json", "predictions.csv"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model in the list: its card, or why it cannot be used."""

    model_id: str
    card: ModelCard | None
    error: str | None


def model_folder(root: Path, model_id: str) -> Path:
    """Return a model's folder.

    Raises:
        ModelError: For an id that is not a plain name.
    """
    if not is_plain_name(model_id):
        raise ModelError(f"{model_id!r} is not a model id: use letters, digits, ., - and _")
    return root / model_id


def is_plain_name(name: str) -> bool:
    """Whether a name is safe as the name of a file or a folder."""
    return bool(name) and not name.startswith(".") and all(c.isalnum() or c in "-_." for c in name)


def list_models(root: Path) -> tuple[ModelEntry, ...]:
    """List the models in a folder by test accuracy, best first, then those that cannot be used."""
    entries = []
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith(".") and folder.name != LUNGS:
            try:
                entries.append(ModelEntry(folder.name, read_card(folder), None))
            except ModelError as error:
                entries.append(ModelEntry(folder.name, None, str(error)))

    def order(entry: ModelEntry) -> tuple[float, str]:
        accuracy = entry.card.metrics["accuracy"].estimate if entry.card else -1.0
        return -accuracy, entry.model_id

    return tuple(sorted(entries, key=order))


def read_card(folder: Path) -> ModelCard:
    """Read a model's card.

    Raises:
        ModelError: When it is missing or damaged, of an unknown schema or of another model.
    """
    card = _read_card(folder, ModelCard)
    if "accuracy" not in card.metrics:
        raise ModelError(f"the card of {folder.name} has no test accuracy; restore the card")
    return card


def _read_card(folder: Path, kind: type[Card]) -> Card:
    try:
        text = (folder / _CARD).read_text("utf-8")
    except FileNotFoundError:
        raise ModelError(f"there is no model {folder.name}: {folder} has no {_CARD}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"the card of {folder.name} cannot be read: {error}") from error
    try:
        version = json.loads(text).get("schema_version")
        if version != CARD_SCHEMA_VERSION:
            raise ModelError(
                f"the card of {folder.name} has schema {version}, and this version of covidxr "
                f"reads {CARD_SCHEMA_VERSION}; update covidxr"
            )
        card = from_json(kind, text, f"the card of {folder.name}")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"the card of {folder.name} is not a JSON object: {error}") from error
    except ConfigError as error:
        raise ModelError(str(error)) from error
    if card.model_id != folder.name:
        raise ModelError(
            f"the card in {folder.name} is that of {card.model_id}; rename the folder or restore "
            "the card"
        )
    return card


def read_predictions(folder: Path) -> Predictions:
    """Read a model's predictions on val and test.

    Raises:
        ModelError: When they are missing or damaged.
    """
    card = read_card(folder)
    if not (folder / _PREDICTIONS).exists():
        raise ModelError(
            f"the model {folder.name} has no {_PREDICTIONS}; evaluate it on its dataset again"
        )
    return read_table(folder / _PREDICTIONS, card.class_names, f"the predictions of {folder.name}")


def read_table(path: Path, class_names: tuple[str, ...], what: str) -> Predictions:
    """Read predictions from a CSV file, as written by `to_table`.

    Args:
        path: Of the file.
        class_names: Of the model.
        what: Name of the predictions in the error message.

    Raises:
        ModelError: When they are missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns = rows[0] if rows else {}
        scores = [[float(row[name]) for name in class_names] for row in rows]
        groups = [int(row["group"]) for row in rows] if "group" in columns else None
        return Predictions(
            class_names=class_names,
            samples=tuple(row["sample"] for row in rows),
            splits=tuple(row["split"] for row in rows),
            y_true=np.array([class_names.index(row["y_true"]) for row in rows], dtype=np.int64),
            y_score=np.array(scores).reshape(-1, len(class_names)),
            groups=None if groups is None else np.array(groups, dtype=np.int64),
            sources=tuple(row["source"] for row in rows) if "source" in columns else None,
        )
    except (OSError, KeyError, ValueError, TypeError, csv.Error, ConfigError) as error:
        raise ModelError(f"{what} cannot be read: {error!r}") from error


def new_model_folder(root: Path, model_id: str) -> Path:
    """Return the folder of a model that does not exist yet.

    Raises:
        ModelError: When it exists, or the id is not a plain name.
    """
    folder = model_folder(root, model_id)
    if folder.exists():
        raise ModelError(
            f"there is a model {model_id} already in {root}; choose another id or delete it first"
        )
    return folder


def save_model(
    root: Path,
    card: ModelCard,
    weights: dict[str, Tensor],
    predictions: Predictions,
    detector: bytes = b"",
) -> Path:
    """Write a model folder atomically.

    Args:
        root: Folder of the stored models.
        card: Of the model; the hash of its weights is filled in.
        weights: Stored as by `to_half`.
        predictions: On val and test.
        detector: Content of the OOD detector's file; empty where the card has no detector.

    Raises:
        ModelError: When there is already a model of that id.
    """
    from safetensors.torch import save

    folder = new_model_folder(root, card.model_id)
    content = save(to_half(weights))
    with new_folder(folder) as new:
        write_bytes(new / _WEIGHTS, content)
        write_text(
            new / _CARD,
            to_json(replace(card, weights_sha256=hashlib.sha256(content).hexdigest(), external="")),
        )
        write_text(new / _PREDICTIONS, to_table(predictions))
        if detector:
            write_bytes(new / DETECTOR_FILE, detector)
    return folder


def update_card(root: Path, card: ModelCard, detector: bytes = b"") -> None:
    """Replace the card of a stored model atomically.

    Args:
        root: Folder of the stored models.
        card: Of the same weights.
        detector: Content of the OOD detector's file, where it changes as well.

    Raises:
        ModelError: When the card is of other weights.
    """
    folder = model_folder(root, card.model_id)
    if read_card(folder).weights_sha256 != card.weights_sha256:
        raise ModelError(
            f"the card does not match the weights of {card.model_id} in {root}; load it again"
        )
    if detector:
        write_bytes(folder / DETECTOR_FILE, detector)
    write_text(folder / _CARD, to_json(replace(card, external="")))


def to_half(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as stored: matrices and kernels in float16, vectors unchanged."""
    return {
        k: (v.half() if v.is_floating_point() and v.ndim > 1 else v).contiguous()
        for k, v in weights.items()
    }


def to_table(predictions: Predictions) -> str:
    """Return predictions as CSV: sample, split, y_true, classes, and group and source if known."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    optional = {"group": predictions.groups, "source": predictions.sources}
    known = {name: column for name, column in optional.items() if column is not None}
    writer.writerow(["sample", "split", "y_true", *predictions.class_names, *known])
    for i, (sample, split, label) in enumerate(
        zip(predictions.samples, predictions.splits, predictions.y_true, strict=True)
    ):
        scores = (repr(float(p)) for p in predictions.y_score[i])
        others = (column[i] for column in known.values())
        writer.writerow([sample, split, predictions.class_names[label], *scores, *others])
    return text.getvalue()


def save_segmenter(
    root: Path,
    card: SegmenterCard,
    weights: dict[str, Tensor],
    rows: Iterable[tuple[str, str, float, float]],
) -> SegmenterCard:
    """Write the lung segmenter's folder atomically.

    Args:
        root: Folder of the stored models.
        card: Of the segmenter; the hash of its weights is filled in.
        weights: Stored as by `to_half`.
        rows: (sample, split, Dice, IoU) of the evaluated images.

    Returns:
        The card as stored.

    Raises:
        ModelError: When there is already a segmenter.
    """
    from safetensors.torch import save

    folder = new_model_folder(root, card.model_id)
    content = save(to_half(weights))
    card = replace(card, weights_sha256=hashlib.sha256(content).hexdigest())
    lines = [f"{sample},{split},{dice:.4f},{iou:.4f}" for sample, split, dice, iou in rows]
    with new_folder(folder) as new:
        write_bytes(new / _WEIGHTS, content)
        write_text(new / _CARD, to_json(card))
        write_text(new / _PREDICTIONS, "\n".join(["sample,split,dice,iou", *lines]) + "\n")
    return card


def read_segmenter_card(root: Path) -> SegmenterCard:
    """Read the card of the lung segmenter in a folder of models.

    Raises:
        ModelError: As `read_card` does.
    """
    if not (root / LUNGS).is_dir():
        raise ModelError(
            f"there is no lung segmenter in {root}: train one with `covidxr train-lungs --data "
            f"DIR`, or copy the folder {LUNGS} there"
        )
    return _read_card(root / LUNGS, SegmenterCard)


def read_weights(folder: Path, sha256: str) -> dict[str, Tensor]:
    """Read the weights of a model.

    Args:
        folder: Of the model.
        sha256: From its card.

    Raises:
        ModelError: When they are missing or damaged, or are not those of the card.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = (folder / _WEIGHTS).read_bytes()
    except OSError as error:
        raise ModelError(
            f"the weights of {folder.name} cannot be read: {error.strerror}; restore {_WEIGHTS}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"the weights of {folder.name} do not match its card (sha256 {found[:12]}…, expected "
            f"{sha256[:12]}…); restore {_WEIGHTS}"
        )
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise ModelError(
            f"the weights of {folder.name} are not a safetensors file ({error}), and pickled "
            f"weights are rejected; restore {_WEIGHTS}"
        ) from error


def restore_network(card: ModelCard, weights: dict[str, Tensor]) -> nn.Module:
    """Build the network of a card from stored weights, in float32 and eval mode.

    Raises:
        ModelError: When they do not fit.
    """
    from covidxr.models.architectures import build_network

    try:
        network = build_network(
            card.architecture, len(card.class_names), card.preprocessing.image_size
        )
    except ConfigError as error:
        raise ModelError(f"the card of {card.model_id} is not valid: {error}") from error
    return fill_network(network, weights, card)


def fill_network(
    network: nn.Module, weights: dict[str, Tensor], card: ModelCard | SegmenterCard
) -> nn.Module:
    """Load stored weights into a network, in float32, channels last and eval mode.

    Raises:
        ModelError: When they do not fit.
    """
    import torch

    full = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    try:
        network.load_state_dict(full, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"the weights of {card.model_id} do not fit {card.architecture}: {reason}"
        ) from error
    return network.to(memory_format=torch.channels_last).eval()
