"""Held-out images with radiologists' boxes, and how well attributions localize the boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.cards import Localization, MapSettings, Pointing
from covidxr.datasets.boxes import box_mask, read_boxes
from covidxr.datasets.dataset import Dataset
from covidxr.errors import DatasetError, ImageError
from covidxr.explanation.localization import Maps, pointing, pointing_hits, smoothed_noise
from covidxr.images.reading import read_image
from covidxr.lungs.masks import resize_mask
from covidxr.models.classifier import Classifier, Segmenter
from covidxr.records import GrayImage, Predictions

SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class BoxedImages:
    """N images with boxes that are held out and correctly classified."""

    predictions: Predictions
    images: list[GrayImage]
    masks: npt.NDArray[np.bool_]
    """(N, S, S) true inside the boxes, on the square."""
    constant: npt.NDArray[np.float32]
    """(S, S) mean of the training images' boxes: the fixed-point baseline."""

    def rows(self, split: str, most: int) -> npt.NDArray[np.int64]:
        """Return the rows of the first `most` images of val or test, or of each for `both`."""
        splits = np.array(self.predictions.splits)
        names = ("val", "test") if split == "both" else (split,)
        return np.concatenate([np.flatnonzero(splits == name)[:most] for name in names])


def read_images(dataset: Dataset, names: Iterable[str]) -> list[GrayImage]:
    """Return images of a dataset by file name."""
    with dataset.files() as files:
        return [read_image(files.read(name), name) for name in names]


def find_boxed(model: Classifier, dataset: Dataset, predictions: Predictions) -> BoxedImages | None:
    """Return the held-out, correctly classified images with boxes; None without boxes.

    Args:
        model: That classifies them.
        dataset: That it was trained on.
        predictions: On val and test.

    Raises:
        DatasetError: When train, val or test has no such image.
    """
    boxes = read_boxes(dataset)
    label_of = {sample.file: sample.label for sample in dataset.samples}
    if not boxes:
        return None
    # Boxes mark one class; if there are several, the most common one is evaluated.
    target = Counter(label_of[file] for file in boxes).most_common(1)[0][0]
    size = model.card.preprocessing.image_size
    not_train = set(predictions.samples) | {file for file, _ in model.card.excluded}
    train = [file for file in boxes if file not in not_train and label_of[file] == target]
    own = predictions.where(
        (predictions.y_true == target)
        & (predictions.y_pred == target)
        & np.isin(predictions.samples, list(boxes))
    )
    images = read_images(dataset, own.samples)
    has_input = np.array([_has_input(model, image) for image in images], dtype=bool)
    own = own.where(has_input)
    images = [image for image, kept in zip(images, has_input, strict=True) if kept]
    if not train or {"val", "test"} - set(own.splits):
        raise DatasetError(
            f"{dataset.path} has too few images with boxes that {model.card.model_id} classifies "
            "correctly to evaluate its heat maps: at least one each in train, val and test"
        )
    shapes = [image.shape for image in read_images(dataset, train)]
    constant = np.mean(
        [box_mask(boxes[file], shape, size) for file, shape in zip(train, shapes, strict=True)],
        axis=0,
    )
    masks = [
        box_mask(boxes[file], image.shape, size)
        for file, image in zip(own.samples, images, strict=True)
    ]
    return BoxedImages(own, images, np.stack(masks), constant.astype(np.float32))


def _has_input(model: Classifier, image: GrayImage) -> bool:
    try:
        model.view(image)
    except ImageError:
        return False
    return True


def measure_baselines(
    segmenter: Segmenter | None, boxed: BoxedImages, target: str
) -> list[Localization]:
    """Evaluate baselines that do not depend on the model.

    Args:
        segmenter: For the baseline inside the lungs; None for no such baseline.
        boxed: Images with boxes.
        target: Class of the images.
    """
    n, size = len(boxed.images), boxed.constant.shape[0]
    center = np.zeros((size, size), dtype=np.float32)
    center[size // 2, size // 2] = 1
    baselines = {
        "constant": np.broadcast_to(boxed.constant, (n, size, size)),
        "noise": smoothed_noise(n, size, SEED),
        "centre": np.broadcast_to(center, (n, size, size)),
    }
    if segmenter is not None:
        lungs = np.stack([resize_mask(segmenter.mask(image), size) for image in boxed.images])
        # Uniform, with the maximum anywhere in the lungs; the noise hardly changes the share.
        noise = np.random.default_rng(SEED).random(lungs.shape, dtype=np.float32)
        baselines["lungs"] = lungs * (1 + 1e-4 * noise)
    return [
        measure_pointing(boxed, maps, n, target, None, name) for name, maps in baselines.items()
    ]


def measure_pointing(
    boxed: BoxedImages,
    maps: Maps,
    most: int,
    target: str,
    settings: MapSettings | None,
    baseline: str = "",
) -> Localization:
    """Evaluate attributions on val, on test and on both.

    Args:
        boxed: N images with boxes.
        maps: (N, S, S).
        most: Number of images of each split, the first ones.
        target: Class of the images.
        settings: That the attributions were made with; None for a baseline.
        baseline: Its name; empty for attributions of the model.
    """

    def part(split: str) -> Pointing:
        rows = boxed.rows(split, most)
        groups = boxed.predictions.groups
        constant = np.broadcast_to(boxed.constant, (len(rows), *boxed.constant.shape))
        return pointing(
            maps[rows],
            boxed.masks[rows],
            pointing_hits(constant, boxed.masks[rows]),
            None if groups is None else groups[rows],
        )

    val, test, both = part("val"), part("test"), part("both")
    return Localization(target, settings, baseline, val, test, both)  # type: ignore[arg-type]
