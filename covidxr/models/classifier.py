"""A classifier ready for use: network, card, and what it needs besides the network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from covidxr.cards import ModelCard
from covidxr.errors import ImageError
from covidxr.images.radiograph import Radiograph, fit_to_square
from covidxr.models.architectures import architecture
from covidxr.records import CasePrediction, GrayImage, Scores

if TYPE_CHECKING:
    from torch import nn

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in fractions of the image padded to a square."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The input of a network: `pixels` (S, S) uint8, the part of the square inside `box`."""

    pixels: GrayImage
    box: Box


class Segmenter(Protocol):
    """Finds the part of an image that a classifier is given."""

    @property
    def sha256(self) -> str:
        """Hash of its weights."""

    def mask(self, image: GrayImage) -> npt.NDArray[np.bool_]:
        """Return the lungs of an image, (H, W) uint8: (256, 256) on the square."""

    def view(self, image: GrayImage, size: int) -> View | None:
        """Return the lungs of an image, (H, W) uint8, at (size, size); None when none are found."""


class Detector(Protocol):
    """Detects out-of-distribution images."""

    def summarize(self, image: GrayImage) -> Any:
        """Return what it compares an image by, apart from the network's features."""

    def rejections(self, features: Scores, summaries: Sequence[Any]) -> list[tuple[str, ...]]:
        """Return for each image why it is rejected, one sentence per reason.

        Args:
            features: (N, D) penultimate features.
            summaries: N results of `summarize`.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A network ready for use. Attribution adds hooks to the network, so it holds the lock."""

    card: ModelCard
    network: nn.Module
    segmenter: Segmenter | None = None
    """For a model whose input is the lungs alone."""
    detector: Detector | None = None
    """None where the model was stored without one."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, radiograph: Radiograph | GrayImage) -> CasePrediction:
        """Classify one radiograph.

        Args:
            radiograph: As read from a file, or its gray values alone, (H, W) uint8.

        Returns:
            Calibrated class probabilities, and why the image is rejected, if it is.

        Raises:
            ImageError: When the model's input is the lungs and none are found.
        """
        image = radiograph.image if isinstance(radiograph, Radiograph) else radiograph
        against = radiograph.rejections if isinstance(radiograph, Radiograph) else ()
        pixels = self.view(image).pixels[None]
        scores, rejections = self.predict_batch(pixels, [self.summarize(image)])
        probabilities = dict(zip(self.card.class_names, scores[0].tolist(), strict=True))
        return CasePrediction(self.card.model_id, probabilities, against + rejections[0])

    def predict_batch(
        self, pixels: npt.NDArray[np.uint8], summaries: Sequence[Any]
    ) -> tuple[Scores, list[tuple[str, ...]]]:
        """Classify images in one pass through the network, under the lock.

        Args:
            pixels: (N, S, S) uint8, from `view`.
            summaries: N results of `summarize`.

        Returns:
            Calibrated probabilities (N, C), and for each image why it is rejected.
        """
        from covidxr.models.inference import scores_and_features

        card, head = self.card, architecture(self.card.architecture).head
        with self.lock:
            scores, features = scores_and_features(
                self.network,
                head,
                pixels,
                np.arange(len(pixels)),
                card.preprocessing,
                card.temperature,
            )
        if self.detector is None:
            return scores, [()] * len(pixels)
        return scores, self.detector.rejections(features, summaries)

    def scores(
        self,
        pixels: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.int64] | None = None,
        temperature: float | None = None,
        progress: str | None = None,
    ) -> Scores:
        """Return class probabilities, under the lock.

        Args:
            pixels: (N, S, S) uint8, from `view`.
            rows: Which of them; None for all.
            temperature: Divisor of the logits; None for the card's.
            progress: Label of a progress bar; None for no bar.

        Returns:
            (len(rows), C) probabilities.
        """
        from covidxr.models.inference import predict_scores

        card = self.card
        rows = np.arange(len(pixels)) if rows is None else rows
        temperature = card.temperature if temperature is None else temperature
        with self.lock:
            return predict_scores(
                self.network, pixels, rows, card.preprocessing, temperature, progress=progress
            )

    def features(self, pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Scores:
        """Return penultimate features, the inputs of the network's head, under the lock.

        Args:
            pixels: (N, S, S) uint8, from `view`.
            rows: Which of them.

        Returns:
            (len(rows), D) features.
        """
        from covidxr.models.inference import scores_and_features

        head = architecture(self.card.architecture).head
        with self.lock:
            return scores_and_features(self.network, head, pixels, rows, self.card.preprocessing)[1]

    def summarize(self, image: GrayImage) -> Any:
        """Return what the detector compares an image, (H, W) uint8, by; None without a detector."""
        return None if self.detector is None else self.detector.summarize(image)

    def view(self, image: GrayImage) -> View:
        """Return what the network is given of an image, (H, W) uint8.

        Raises:
            ImageError: When the model's input is the lungs and none are found.
        """
        size = self.card.preprocessing.image_size
        if self.segmenter is None:
            return View(fit_to_square(image, size), WHOLE)
        found = self.segmenter.view(image, size)
        if found is None:
            raise ImageError(
                "no lungs were found in this image, and they are the input of "
                f"{self.card.model_id}"
                "; use a frontal chest radiograph, or another model"
            )
        return found
