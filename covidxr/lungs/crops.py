"""The lungs of pictures: their masks, and what models see that see nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from covidxr.cards import SegmenterCard
from covidxr.config import weights_folder
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.pixels import Pixels, decode, derive, place_of
from covidxr.errors import ModelError
from covidxr.lungs.masks import MASK_SIZE, LungMask, only_lungs
from covidxr.models import store
from covidxr.records import GreyImage, Preprocessing, Recipe

if TYPE_CHECKING:
    from covidxr.lungs.segmenter import LoadedSegmenter

Watch = Callable[[int, int], None]


def segmenter_card() -> SegmenterCard:
    """Read the lung segmenter's card. Raises ModelError when there is none, or it is damaged."""
    return store.read_segmenter_card(weights_folder())


def load_segmenter(sha256: str = "") -> LoadedSegmenter:
    """Load the lung segmenter. Raises ModelError when there is none, or none of the weights that `sha256` names."""
    segmenter = store.load_segmenter(weights_folder())
    if sha256 and segmenter.card.weights_sha256 != sha256:
        raise ModelError(
            f"the model was trained on the lungs that another {store.LUNGS} found; restore that one, or train it again"
        )
    return segmenter


def segmenter_sha256(recipe: Recipe) -> str:
    """Return whose lungs a recipe sees: the hash of the segmenter's weights, or nothing where it sees the whole picture."""
    return segmenter_card().weights_sha256 if recipe.region == "lungs" else ""


def lung_mask(segmenter: LoadedSegmenter, image: GreyImage) -> LungMask:
    """Return the lungs of a picture, (H, W) uint8: (256, 256) bool on its square, all false when none are found."""
    from covidxr.lungs.segmenter import segment

    return segment(segmenter, image)


def lung_masks(
    dataset: Dataset,
    files: Sequence[str],
    segmenter: LoadedSegmenter,
    watch: Watch = lambda done, total: None,
) -> npt.NDArray[np.bool_]:
    """Return the lungs of some of a dataset's pictures, (N, 256, 256); those of all are found once and kept in the cache."""
    packed = _packed_masks(dataset, segmenter, watch)
    return _unpack(packed.array[packed.rows(files)])


def seen_pixels(
    preprocessing: Preprocessing,
    dataset: Dataset,
    skip_unreadable: bool = False,
    watch: Watch = lambda done, total: None,
) -> Pixels:
    """Return what a model sees of each picture, from the cache or made anew: the whole of it, or its lungs alone.

    A picture in which no lungs are found is black. Raises DatasetError as `decode` does, ModelError as `load_segmenter` does.
    """
    size, sha256 = preprocessing.image_size, preprocessing.segmenter_sha256
    if not sha256:
        return decode(dataset, size, skip_unreadable, watch)
    masks = _packed_masks(dataset, load_segmenter(sha256), watch)
    row_of = {file: row for row, file in enumerate(masks.files)}

    def make(image: GreyImage, file: str) -> GreyImage:
        return only_lungs(image, _unpack(masks.array[row_of[file]]), size)[0]

    return derive(
        dataset,
        _crops_name(size, sha256),
        (size, size),
        make,
        skip_unreadable,
        watch,
        "cropping to the lungs",
    )


def lungs_to_make(dataset: Dataset, recipe: Recipe) -> tuple[str, ...]:
    """Return which caches a recipe that sees only lungs would have to fill first: the masks, the cropped pictures."""
    sha256 = segmenter_sha256(recipe)
    names = (_masks_name(sha256), _crops_name(recipe.image_size, sha256)) if sha256 else ()
    return tuple(name for name in names if not place_of(dataset, name).exists())


def _masks_name(sha256: str) -> str:
    return f"lungs-{sha256[:12]}"


def _crops_name(size: int, sha256: str) -> str:
    return f"{size}px-lungs-{sha256[:12]}"


def _packed_masks(dataset: Dataset, segmenter: LoadedSegmenter, watch: Watch) -> Pixels:
    from covidxr.lungs.segmenter import segment

    return derive(
        dataset,
        _masks_name(segmenter.card.weights_sha256),
        (MASK_SIZE, MASK_SIZE // 8),
        lambda image, file: np.packbits(segment(segmenter, image), axis=1),
        skip_unreadable=True,
        watch=watch,
        label="finding the lungs",
    )


def _unpack(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.unpackbits(packed, axis=-1).astype(np.bool_)
