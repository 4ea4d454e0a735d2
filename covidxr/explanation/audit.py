"""Validation of a model's heat maps: localization, share in the lungs, faithfulness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from covidxr.cards import (
    METHOD_TITLES,
    Faithfulness,
    Localisation,
    LungShare,
    MapSettings,
    Pointing,
)
from covidxr.datasets.boxes import box_mask, read_boxes
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import check_dataset
from covidxr.errors import DatasetError, ImageError
from covidxr.explanation import faithfulness
from covidxr.explanation.attribution import (
    Maps,
    attribute_batch,
    place_on_square,
    postprocess,
    raw_attributions,
)
from covidxr.explanation.localization import (
    pointing,
    pointing_hits,
    shares_inside,
    smoothed_noise,
)
from covidxr.explanation.removal import areas
from covidxr.explanation.settings import (
    LAYER_METHODS,
    candidates,
    default_settings,
    map_settings,
)
from covidxr.images.reading import read_image
from covidxr.lungs.masks import resize_mask
from covidxr.metrics.intervals import mean_interval
from covidxr.models.classifier import Classifier, Segmenter
from covidxr.records import GreyImage, Labels, Predictions

SEED = 0
SAMPLE = 100
"""Test images for faithfulness, balanced over classes; and images per class for lung shares."""
COSTLY = 20
"""Largest number of images for methods that need dozens of passes per image."""
PERTURBED, PERTURBED_COSTLY = 20, 4
"""Images for infidelity, sensitivity and randomization, also for costly methods."""


@dataclass(frozen=True, slots=True, eq=False)
class _Boxed:
    """Images with boxes: held out and correctly classified."""

    predictions: Predictions
    images: list[GreyImage]
    masks: npt.NDArray[np.bool_]
    """(N, S, S) true inside the boxes, on the square."""
    constant: npt.NDArray[np.float32]
    """(S, S) mean of the training images' boxes: the fixed-point baseline."""

    def rows(self, split: str, most: int) -> npt.NDArray[np.int64]:
        """Return the first images of val or test, or of each."""
        splits = np.array(self.predictions.splits)
        names = ("val", "test") if split == "both" else (split,)
        return np.concatenate([np.flatnonzero(splits == name)[:most] for name in names])


def measure_localization(
    model: Classifier,
    dataset: Dataset,
    predictions: Predictions,
    segmenter: Segmenter | None,
    configurations: Sequence[MapSettings] | None = None,
) -> tuple[Localisation, ...]:
    """Evaluate how well attributions localize radiologists' boxes.

    On held-out images that the model classifies correctly.

    Args:
        model: To explain.
        dataset: That it was trained on.
        predictions: On val and test.
        segmenter: For the baseline inside the lungs; None for no such baseline.
        configurations: To evaluate; None for all candidates.

    Returns:
        Results of the baselines and the configurations; none where the dataset has no boxes.

    Raises:
        DatasetError: For another dataset, or too few images with boxes.
    """
    check_dataset(dataset, model.card)
    boxed = _find_boxed(model, dataset, predictions)
    if boxed is None:
        return ()
    y_true = boxed.predictions.y_true
    target = model.card.class_names[y_true[0]]
    results = _baselines(segmenter, boxed, target)
    raw: dict[MapSettings, Maps] = {}
    for settings in tqdm(
        configurations or candidates(model.card.architecture),
        desc=f"{model.card.model_id}: localization",
        disable=None,
    ):
        most = COSTLY if _is_costly(settings) else len(boxed.images)
        rows = boxed.rows("both", most)
        maps = _placed_attributions(
            model, [boxed.images[i] for i in rows], y_true[rows], settings, raw
        )
        padded = np.zeros((len(boxed.images), *maps.shape[1:]), dtype=np.float32)
        padded[rows] = maps
        results.append(_localization(boxed, padded, most, target, settings))
    return tuple(results)


def measure_lung_shares(
    model: Classifier,
    dataset: Dataset,
    predictions: Predictions,
    segmenter: Segmenter | None,
) -> tuple[LungShare, ...]:
    """Measure the share of attribution inside the lungs, for each class's test images.

    For the original Grad-CAM and for the model's default configuration.

    Args:
        model: To explain.
        dataset: That it was trained on.
        predictions: On val and test.
        segmenter: That finds the lungs; None for no result.
    """
    check_dataset(dataset, model.card)
    if segmenter is None:
        return ()
    grad_cam = default_settings(model.card.architecture, "gradcam")
    size = model.card.preprocessing.image_size
    results = []
    for target, name in enumerate(model.card.class_names):
        rows = _sample(predictions, target, SAMPLE)
        images = _read(dataset, [predictions.samples[i] for i in rows])
        masks = [segmenter.mask(image) for image in images]
        kept = [i for i, mask in enumerate(masks) if mask.any()]
        lungs = np.stack([resize_mask(masks[i], size) for i in kept])
        groups = None if predictions.groups is None else predictions.groups[rows][kept]
        for settings in dict.fromkeys((grad_cam, map_settings(model.card))):
            some = slice(0, COSTLY) if _is_costly(settings) else slice(None)
            own_images = [images[i] for i in kept[some]]
            maps = _placed_attributions(
                model, own_images, np.full(len(own_images), target), settings
            )
            own_groups = None if groups is None else groups[some]
            inside = mean_interval(shares_inside(maps, lungs[some]), own_groups)
            area = mean_interval(lungs[some].mean(axis=(1, 2)), own_groups)
            results.append(LungShare(name, settings, len(own_images), inside, area))
    return tuple(results)


def measure_faithfulness(
    model: Classifier, dataset: Dataset, predictions: Predictions
) -> tuple[Faithfulness, ...]:
    """Measure the faithfulness of each method's best configuration on a sample of test images.

    Args:
        model: To explain.
        dataset: That it was trained on.
        predictions: On val and test.
    """
    check_dataset(dataset, model.card)
    classes = range(len(model.card.class_names))
    # Classes in turn, so that the first images are of all classes.
    chosen = np.stack([_sample(predictions, k, SAMPLE // len(classes)) for k in classes], axis=1)
    chosen = chosen.ravel()
    images = _read(dataset, [predictions.samples[i] for i in chosen])
    rows, views = [], []
    for row, image in zip(chosen, images, strict=True):
        # A lung-only model has no input where no lungs are found.
        try:
            views.append(model.view(image).pixels)
        except ImageError:
            continue
        rows.append(row)
    pixels, targets = np.stack(views), predictions.y_pred[rows]
    groups = None if predictions.groups is None else predictions.groups[rows]
    noise = faithfulness.probability_curves(
        model, pixels, targets, smoothed_noise(len(pixels), pixels.shape[-1], SEED)
    )
    methods = tqdm(METHOD_TITLES, desc=f"{model.card.model_id}: faithfulness", disable=None)
    return tuple(
        _faithfulness(model, pixels, targets, groups, noise, map_settings(model.card, method))
        for method in methods
    )


def _faithfulness(
    model: Classifier,
    pixels: npt.NDArray[np.uint8],
    targets: Labels,
    groups: Labels | None,
    noise: tuple[Maps, Maps],
    settings: MapSettings,
) -> Faithfulness:
    """Measure the faithfulness of one configuration, against the curves of noise."""
    costly = _is_costly(settings)
    n, few = (COSTLY, PERTURBED_COSTLY) if costly else (len(pixels), PERTURBED)
    with model.lock:
        heats, _ = attribute_batch(
            model.network, model.card.preprocessing, pixels[:n], targets[:n], settings
        )
    own = None if groups is None else groups[:n]
    curves = faithfulness.probability_curves(model, pixels[:n], targets[:n], heats)
    area = [mean_interval(areas(curve), own) for curve in curves]
    gain = [
        mean_interval(areas(curve) - areas(other[:n]), own)
        for curve, other in zip(curves, noise, strict=True)
    ]
    infidelity, sensitivity = (
        mean_interval(values, None if own is None else own[:few])
        for values in faithfulness.infidelity_and_sensitivity(
            model, pixels[:few], targets[:few], settings
        )
    )
    return Faithfulness(
        settings=settings,
        n=n,
        deletion=_mean_curve(curves[0]),
        insertion=_mean_curve(curves[1]),
        random_deletion=_mean_curve(noise[0][:n]),
        random_insertion=_mean_curve(noise[1][:n]),
        deletion_area=area[0],
        insertion_area=area[1],
        deletion_gain=gain[0],
        insertion_gain=gain[1],
        n_perturbed=few,
        infidelity=infidelity,
        sensitivity=sensitivity,
        cascade=faithfulness.cascade(model, pixels[:few], targets[:few], settings),
    )


def _is_costly(settings: MapSettings) -> bool:
    return settings.method not in LAYER_METHODS


def _read(dataset: Dataset, names: Iterable[str]) -> list[GreyImage]:
    with dataset.files() as files:
        return [read_image(files.read(name), name) for name in names]


def _sample(predictions: Predictions, target: int, most: int) -> Labels:
    """Return the rows of a fixed random sample of a class's test images."""
    rows = np.flatnonzero((predictions.y_true == target) & (np.array(predictions.splits) == "test"))
    return np.random.default_rng(SEED).permutation(rows)[:most]


def _mean_curve(curves: Maps) -> tuple[float, ...]:
    return tuple(round(float(p), 4) for p in curves.mean(axis=0))


def _placed_attributions(
    model: Classifier,
    images: Sequence[GreyImage],
    targets: Labels,
    settings: MapSettings,
    raw: dict[MapSettings, Maps] | None = None,
) -> Maps:
    """Return attributions on the squares of whole images.

    `raw` caches raw attributions for the next configuration, if only its smoothing differs.
    """
    views = [model.view(image) for image in images]
    cache, key = {} if raw is None else raw, replace(settings, smoothing=0.0)
    if key not in cache:
        # Those of all configurations would not fit into memory.
        cache.clear()
        pixels = np.stack([view.pixels for view in views])
        with model.lock:
            cache[key], _ = raw_attributions(
                model.network, model.card.preprocessing, pixels, targets, key
            )
    finished = postprocess(cache[key], settings)
    return np.stack(
        [place_on_square(heat, view.box) for heat, view in zip(finished, views, strict=True)]
    )


def _find_boxed(model: Classifier, dataset: Dataset, predictions: Predictions) -> _Boxed | None:
    """Return the held-out, correctly classified images with boxes; None without boxes."""
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
    images = _read(dataset, own.samples)
    has_input = np.array([_has_input(model, image) for image in images], dtype=bool)
    own = own.where(has_input)
    images = [image for image, kept in zip(images, has_input, strict=True) if kept]
    if not train or {"val", "test"} - set(own.splits):
        raise DatasetError(
            f"{dataset.path} has too few images with boxes that {model.card.model_id} classifies "
            "correctly to evaluate its heat maps: at least one each in train, val and test"
        )
    shapes = [image.shape for image in _read(dataset, train)]
    constant = np.mean(
        [box_mask(boxes[file], shape, size) for file, shape in zip(train, shapes, strict=True)],
        axis=0,
    )
    masks = [
        box_mask(boxes[file], image.shape, size)
        for file, image in zip(own.samples, images, strict=True)
    ]
    return _Boxed(own, images, np.stack(masks), constant.astype(np.float32))


def _has_input(model: Classifier, image: GreyImage) -> bool:
    try:
        model.view(image)
    except ImageError:
        return False
    return True


def _baselines(segmenter: Segmenter | None, boxed: _Boxed, target: str) -> list[Localisation]:
    """Evaluate baselines that do not depend on the model."""
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
    return [_localization(boxed, maps, n, target, None, name) for name, maps in baselines.items()]


def _localization(
    boxed: _Boxed,
    maps: Maps,
    most: int,
    target: str,
    settings: MapSettings | None,
    baseline: str = "",
) -> Localisation:
    """Evaluate attributions (N, S, S) on the first `most` images of val, of test and of both."""

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
    return Localisation(target, settings, baseline, val, test, both)  # type: ignore[arg-type]
