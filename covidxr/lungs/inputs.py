"""Network inputs of whole datasets, kept in the pixel cache: full images, or the lungs alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from covidxr.datasets.dataset import Dataset
from covidxr.datasets.pixels import Pixels, decode, derive, place_of
from covidxr.errors import ModelError
from covidxr.lungs.masks import MASK_SIZE, only_lungs
from covidxr.models.classifier import Segmenter
from covidxr.records import GrayImage, Preprocessing

Watch = Callable[[int, int], None]


def lung_masks(
    dataset: Dataset,
    files: Sequence[str],
    segmenter: Segmenter,
    watch: Watch = lambda done, total: None,
) -> npt.NDArray[np.bool_]:
    """Return the lung masks of images, (N, 256, 256).

    Those of the whole dataset are segmented once and cached.

    Args:
        dataset: Whose images.
        files: N files of the dataset.
        segmenter: That finds the lungs.
        watch: Receives the number of segmented images and the total.
    """
    packed = _packed_masks(dataset, segmenter, watch)
    return _unpack(packed.array[packed.rows(files)])


def input_pixels(
    preprocessing: Preprocessing,
    segmenter: Segmenter | None,
    dataset: Dataset,
    skip_unreadable: bool = False,
    watch: Watch = lambda done, total: None,
) -> Pixels:
    """Return the network input of every image of a dataset, from the cache or computed.

    An image in which no lungs are found is black.

    Args:
        preprocessing: Of the model.
        segmenter: Of the model; needed where its input is the lungs alone.
        dataset: Whose images.
        skip_unreadable: Whether to skip images that cannot be read.
        watch: Receives the number of processed images and the total.

    Raises:
        DatasetError: As `decode` does.
        ModelError: Where the segmenter is missing or is not the model's own.
    """
    size, sha256 = preprocessing.image_size, preprocessing.segmenter_sha256
    if not sha256:
        return decode(dataset, size, skip_unreadable, watch)
    if segmenter is None or segmenter.sha256 != sha256:
        raise ModelError(
            "the model's input is the lungs, and its lung segmenter is missing; restore it"
        )
    masks = _packed_masks(dataset, segmenter, watch)
    row_of = {file: row for row, file in enumerate(masks.files)}

    def make(image: GrayImage, file: str) -> GrayImage:
        return only_lungs(image, _unpack(masks.array[row_of[file]]), size).pixels

    return derive(
        dataset,
        _crops_name(size, sha256),
        (size, size),
        make,
        skip_unreadable,
        watch,
        "cropping to the lungs",
    )


def missing_caches(dataset: Dataset, image_size: int, segmenter_sha256: str) -> tuple[str, ...]:
    """Return the names of the caches that a lung-only recipe needs first: masks, crops."""
    names = (_masks_name(segmenter_sha256), _crops_name(image_size, segmenter_sha256))
    return tuple(name for name in names if not place_of(dataset, name).exists())


def _masks_name(sha256: str) -> str:
    return f"lungs-{sha256[:12]}"


def _crops_name(size: int, sha256: str) -> str:
    return f"{size}px-lungs-{sha256[:12]}"


def _packed_masks(dataset: Dataset, segmenter: Segmenter, watch: Watch) -> Pixels:
    return derive(
        dataset,
        _masks_name(segmenter.sha256),
        (MASK_SIZE, MASK_SIZE // 8),
        lambda image, file: np.packbits(segmenter.mask(image), axis=1),
        skip_unreadable=True,
        watch=watch,
        label="segmenting the lungs",
    )


def _unpack(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.unpackbits(packed, axis=-1).astype(np.bool_)
