"""Validation of a model's heat maps: localization, share in the lungs, faithfulness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from covidxr.cards import (
    METHOD_TITLES,
    Faithfulness,
    Localization,
    LungShare,
    MapSettings,
)
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.splits import check_dataset
from covidxr.errors import ImageError
from covidxr.explanation import faithfulness
from covidxr.explanation.attribution import (
    Maps,
    attribute_batch,
    place_on_square,
    postprocess,
    raw_attributions,
)
from covidxr.explanation.boxed_images import (
    SEED,
    find_boxed,
    measure_baselines,
    measure_pointing,
    read_images,
)
from covidxr.explanation.localization import (
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
from covidxr.lungs.masks import resize_mask
from covidxr.metrics.intervals import mean_interval
from covidxr.models.classifier import Classifier, Segmenter
from covidxr.records import GrayImage, Labels, Predictions

SAMPLE = 100
"""Test images for faithfulness, balanced over classes; and images per class for lung shares."""
COSTLY = 20
"""Largest number of images for methods that need dozens of passes per image."""
PERTURBED, PERTURBED_COSTLY = 20, 4
"""Images for infidelity, sensitivity and randomization, also for costly methods."""


def measure_localization(
    model: Classifier,
    dataset: Dataset,
    predictions: Predictions,
    segmenter: Segmenter | None,
    configurations: Sequence[MapSettings] | None = None,
) -> tuple[Localization, ...]:
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
    boxed = find_boxed(model, dataset, predictions)
    if boxed is None:
        return ()
    y_true = boxed.predictions.y_true
    target = model.card.class_names[y_true[0]]
    results = measure_baselines(segmenter, boxed, target)
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
        results.append(measure_pointing(boxed, padded, most, target, settings))
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
        images = read_images(dataset, [predictions.samples[i] for i in rows])
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
    images = read_images(dataset, [predictions.samples[i] for i in chosen])
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


def _sample(predictions: Predictions, target: int, most: int) -> Labels:
    """Return the rows of a fixed random sample of a class's test images."""
    rows = np.flatnonzero((predictions.y_true == target) & (np.array(predictions.splits) == "test"))
    return np.random.default_rng(SEED).permutation(rows)[:most]


def _mean_curve(curves: Maps) -> tuple[float, ...]:
    return tuple(round(float(p), 4) for p in curves.mean(axis=0))


def _placed_attributions(
    model: Classifier,
    images: Sequence[GrayImage],
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
