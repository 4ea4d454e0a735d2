"""Models on disk: a folder of weights, card and predictions, written whole or not at all. Torch is loaded only with weights."""

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
"""Id and network of the lung segmenter: a folder as a model's, but with a `SegmenterCard`, and a table of how well it did."""
GATE = "gate.safetensors"
Card = TypeVar("Card", ModelCard, SegmenterCard)
_WEIGHTS, _CARD, _PREDICTIONS = "model.safetensors", "card.json", "predictions.csv"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model in the list: its card, or the sentence that says why it cannot be used."""

    model_id: str
    card: ModelCard | None
    error: str | None


def model_folder(root: Path, model_id: str) -> Path:
    """Return a model's folder. Raises ModelError for an id that is not a plain name."""
    if not is_plain_name(model_id):
        raise ModelError(f"{model_id!r} is no model id: letters, digits, dots, - and _ make one")
    return root / model_id


def is_plain_name(name: str) -> bool:
    """Whether a name can be that of a folder or a file, and of nothing beside or above it."""
    return bool(name) and not name.startswith(".") and all(c.isalnum() or c in "-_." for c in name)


def list_models(root: Path) -> tuple[ModelEntry, ...]:
    """List the models below a folder, the best accuracy on test first; one that cannot be used says why."""
    folders = (
        sorted(
            p
            for p in root.iterdir()
            if p.is_dir() and not p.name.startswith(".") and p.name != LUNGS
        )
        if root.is_dir()
        else []
    )
    entries = []
    for folder in folders:
        try:
            entries.append(ModelEntry(folder.name, read_card(folder), None))
        except ModelError as error:
            entries.append(ModelEntry(folder.name, None, str(error)))
    return tuple(
        sorted(
            entries,
            key=lambda e: (-e.card.metrics["accuracy"].estimate if e.card else 1.0, e.model_id),
        )
    )


def read_card(folder: Path) -> ModelCard:
    """Read a model's card. Raises ModelError when it is missing, damaged, of an unknown schema or of another model."""
    card = _read_card(folder, ModelCard)
    if "accuracy" not in card.metrics:
        raise ModelError(f"the card of {folder.name} has no accuracy on test")
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
                f"the card of {folder.name} has schema {version}, this program reads {CARD_SCHEMA_VERSION}; update covidxr"
            )
        card = from_json(kind, text, f"the card of {folder.name}")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"the card of {folder.name} is not a JSON object: {error}") from error
    except ConfigError as error:
        raise ModelError(str(error)) from error
    if card.model_id != folder.name:
        raise ModelError(
            f"the card in {folder.name} is that of {card.model_id}; rename the folder or restore the card"
        )
    return card


def read_predictions(folder: Path) -> Predictions:
    """Read a model's predictions on val and test. Raises ModelError when they are missing or damaged."""
    card = read_card(folder)
    if not (folder / _PREDICTIONS).exists():
        raise ModelError(
            f"the model {folder.name} has no {_PREDICTIONS}; evaluate it on its dataset again"
        )
    return read_table(folder / _PREDICTIONS, card.class_names, f"the predictions of {folder.name}")


def read_table(path: Path, class_names: tuple[str, ...], what: str) -> Predictions:
    """Read predictions from a CSV. Raises ModelError, calling them `what`, when they are missing or damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return Predictions(
            class_names,
            tuple(row["sample"] for row in rows),
            tuple(row["split"] for row in rows),
            np.array([class_names.index(row["y_true"]) for row in rows], dtype=np.int64),
            np.array([[float(row[name]) for name in class_names] for row in rows]).reshape(
                -1, len(class_names)
            ),
            np.array([int(row["group"]) for row in rows], dtype=np.int64)
            if rows and "group" in rows[0]
            else None,
            tuple(row["source"] for row in rows) if rows and "source" in rows[0] else None,
        )
    except (OSError, KeyError, ValueError, TypeError, csv.Error, ConfigError) as error:
        raise ModelError(f"{what} cannot be read: {error!r}") from error


def new_model_folder(root: Path, model_id: str) -> Path:
    """Return the folder of a model to be. Raises ModelError when there is one already, or when the id is not a plain name."""
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
    gate: bytes = b"",
) -> Path:
    """Write a model folder whole or not at all; convolution and linear weights in half precision, the rest as it is.

    gate: the file that the card's figures of a gate are of; empty where the card has none.
    Raises ModelError when a model of that id is there already.
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
        if gate:
            write_bytes(new / GATE, gate)
    return folder


def update_card(root: Path, card: ModelCard, gate: bytes = b"") -> None:
    """Put another card, atomically, in the place of a stored model's own. Raises ModelError unless it is of the same weights.

    gate: the file that the card's figures of a gate are of, if that is another than the one that is stored.
    """
    folder = model_folder(root, card.model_id)
    if read_card(folder).weights_sha256 != card.weights_sha256:
        raise ModelError(
            f"the card is not of the weights of {card.model_id} that are stored in {root}"
        )
    if gate:
        write_bytes(folder / GATE, gate)
    write_text(folder / _CARD, to_json(replace(card, external="")))


def to_half(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights as they are stored: matrices and kernels float16, vectors (norms, biases, statistics) unchanged."""
    return {
        k: (v.half() if v.is_floating_point() and v.ndim > 1 else v).contiguous()
        for k, v in weights.items()
    }


def to_table(predictions: Predictions) -> str:
    """Return predictions as CSV: sample, split, y_true, a column for each class, and group and source where known."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    optional = {"group": predictions.groups, "source": predictions.sources}
    known = {name: column for name, column in optional.items() if column is not None}
    writer.writerow(["sample", "split", "y_true", *predictions.class_names, *known])
    for i, (sample, split, label) in enumerate(
        zip(predictions.samples, predictions.splits, predictions.y_true, strict=True)
    ):
        scores = (repr(float(p)) for p in predictions.y_score[i])
        writer.writerow(
            [
                sample,
                split,
                predictions.class_names[label],
                *scores,
                *(column[i] for column in known.values()),
            ]
        )
    return text.getvalue()


def save_segmenter(
    root: Path,
    card: SegmenterCard,
    weights: dict[str, Tensor],
    rows: Iterable[tuple[str, str, float, float]],
) -> SegmenterCard:
    """Write the lung segmenter's folder whole or not at all; rows: (sample, split, Dice, IoU). Returns the card as it is stored.

    Raises ModelError when there is one already.
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
    """Read the card of the lung segmenter among the models below a folder. Raises ModelError as `read_card` does."""
    if not (root / LUNGS).is_dir():
        raise ModelError(
            f"there is no lung segmenter in {root}: train one by `covidxr train-lungs --data DIR`, or put {LUNGS} there"
        )
    return _read_card(root / LUNGS, SegmenterCard)


def read_weights(folder: Path, sha256: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = (folder / _WEIGHTS).read_bytes()
    except OSError as error:
        raise ModelError(
            f"the weights of {folder.name} cannot be read: {error.strerror}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"the weights of {folder.name} are not those its card was written for (sha256 {found[:12]}…, expected "
            f"{sha256[:12]}…); restore {_WEIGHTS}"
        )
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise ModelError(
            f"the weights of {folder.name} are not a safetensors file ({error}); pickled weights are never opened"
        ) from error


def restore_network(card: ModelCard, weights: dict[str, Tensor]) -> nn.Module:
    """Build a card's network around stored weights, float32, in eval mode. Raises ModelError when they do not fit."""
    from covidxr.models.architectures import build_network

    try:
        network = build_network(
            card.architecture, len(card.class_names), card.preprocessing.image_size
        )
    except ConfigError as error:
        raise ModelError(f"the card of {card.model_id} cannot be followed: {error}") from error
    return fill_network(network, weights, card)


def fill_network(
    network: nn.Module, weights: dict[str, Tensor], card: ModelCard | SegmenterCard
) -> nn.Module:
    """Put stored weights into a network, float32, channels last, in eval mode. Raises ModelError when they do not fit."""
    import torch

    try:
        network.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}, strict=True
        )
    except RuntimeError as error:
        raise ModelError(
            f"the weights of {card.model_id} do not fit {card.architecture}: {' '.join(str(error).split())[:300]}"
        ) from error
    return network.to(memory_format=torch.channels_last).eval()
