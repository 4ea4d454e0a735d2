"""What outlives a rerun: models, judged pictures, heat maps. Each cache is bounded and keyed by hashes of what it depends on."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import streamlit as st
from PIL import Image

from covidxr import workflows
from covidxr.errors import ImageError
from covidxr.figures import MODEL_COLOURS, fit_screen
from covidxr.models.store import LoadedModel
from covidxr.records import Attribution, CasePrediction, GreyImage, ModelCard, display_name


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file as it came in, and the hash of its content."""

    name: str
    content: bytes
    sha256: str
    synthetic: bool = False

    @classmethod
    def of(cls, name: str, content: bytes, synthetic: bool = False) -> Picture:
        """Hash a file's content."""
        return cls(name, content, hashlib.sha256(content).hexdigest(), synthetic)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A picture that a model has judged; `image` (H, W) uint8 is reduced to what a screen can show."""

    image: GreyImage
    prediction: CasePrediction
    padding: str | None


def judge(card: ModelCard, picture: Picture) -> Case | ImageError:
    """Return what a model says of a picture, or why the picture cannot be read. Raises ModelError for a model that is broken."""
    try:
        return _judge(card.model_id, card.weights_sha256, picture.sha256, picture)
    except ImageError as error:
        return error


def explain(card: ModelCard, picture: Picture, target: str) -> Attribution:
    """Return where a model found its reasons for a class. Raises ImageError, ModelError."""
    return _explain(card.model_id, card.weights_sha256, picture.sha256, target, picture)


@st.cache_resource(max_entries=32, show_spinner=False)
def phantom(class_name: str, seed: int) -> Picture:
    """Return a synthetic phantom as if it had been uploaded."""
    content = io.BytesIO()
    Image.fromarray(workflows.sample_phantom(class_name, seed)).save(content, "PNG")
    return Picture.of(f"{display_name(class_name)} phantom", content.getvalue(), synthetic=True)


# A parameter whose name begins with an underscore is no part of the key: the hashes stand for what it holds.


@st.cache_resource(max_entries=len(MODEL_COLOURS), show_spinner="Loading the model: a few seconds, once…")
def _load(model_id: str, weights_sha256: str) -> LoadedModel:
    return workflows.load_model(model_id)


@st.cache_resource(max_entries=128, show_spinner=False)
def _judge(model_id: str, weights_sha256: str, picture_sha256: str, _picture: Picture) -> Case:
    image = workflows.read_picture(_picture.content, _picture.name)
    prediction = workflows.predict_case(_load(model_id, weights_sha256), image)
    return Case(fit_screen(image), prediction, workflows.padding_sentence(image))


@st.cache_resource(max_entries=128, show_spinner=False)
def _explain(model_id: str, weights_sha256: str, picture_sha256: str, target: str, _picture: Picture) -> Attribution:
    image = workflows.read_picture(_picture.content, _picture.name)
    return workflows.explain_case(_load(model_id, weights_sha256), image, target)
