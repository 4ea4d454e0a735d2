"""Heat maps put to the test, model by model: against radiologists' boxes, against the lungs, against the network itself."""

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
from covidxr.explanation.attribution import Maps, finish_maps, heat_maps, place_on_square, raw_maps
from covidxr.explanation.localization import (
    noise_maps,
    pointing,
    pointing_hits,
    shares_inside,
)
from covidxr.explanation.removal import areas
from covidxr.explanation.settings import candidates, default_settings, map_settings
from covidxr.images.reading import read_image
from covidxr.lungs.masks import resize_mask
from covidxr.metrics.intervals import mean_interval
from covidxr.models.classifier import Classifier, Segmenter
from covidxr.records import GreyImage, Labels, Predictions

SEED = 0
SAMPLE = 100
"""Test pictures for faithfulness, as many of each class; and of each class for its share in the lungs."""
COSTLY = 20
"""Pictures of each split, or of the sample, at the most for methods that need dozens of passes a picture."""
PERTURBED, PERTURBED_COSTLY = 20, 4


@dataclass(frozen=True, slots=True, eq=False)
class _Boxed:
    """The pictures on which pointing is judged: what the model sees of them, and where the boxes lie on their squares."""

    pictures: Predictions
    images: list[GreyImage]
    masks: npt.NDArray[np.bool_]
    constant: npt.NDArray[np.float32]
    """(S, S) mean of the train pictures' boxes."""

    def rows(self, split: str, most: int) -> npt.NDArray[np.int64]:
        """Return the first pictures of a split, or of both."""
        own = [
            np.flatnonzero(np.array(self.pictures.splits) == name)[:most]
            for name in ("val", "test")
            if split in (name, "both")
        ]
        return np.concatenate(own)


def measure_localization(
    model: Classifier,
    dataset: Dataset,
    predictions: Predictions,
    segmenter: Segmenter | None,
    kinds: Sequence[MapSettings] | None = None,
) -> tuple[Localisation, ...]:
    """Measure where a model's maps, of all kinds or of some, point on pictures with boxes, outside train and called right."""
    check_dataset(dataset, model.card)
    boxed = _find_boxed(model, dataset, predictions)
    if boxed is None:
        return ()
    target = int(boxed.pictures.y_true[0])
    found = _judge_rivals(segmenter, boxed, model.card.class_names[target])
    raw: dict[MapSettings, Maps] = {}
    for settings in tqdm(
        kinds or candidates(model.card.architecture),
        desc=f"{model.card.model_id}: pointing",
        disable=None,
    ):
        most = COSTLY if _is_costly(settings) else len(boxed.images)
        rows = boxed.rows("both", most)
        maps = _placed_maps(
            model, [boxed.images[i] for i in rows], boxed.pictures.y_true[rows], settings, raw
        )
        whole = np.zeros((len(boxed.images), *maps.shape[1:]), dtype=np.float32)
        whole[rows] = maps
        found.append(_judge(boxed, whole, most, model.card.class_names[target], settings))
    return tuple(found)


def measure_lung_shares(
    model: Classifier,
    dataset: Dataset,
    predictions: Predictions,
    segmenter: Segmenter | None,
) -> tuple[LungShare, ...]:
    """Measure how much of the maps of each class's test pictures lies in the lungs: the textbook's Grad-CAM and the default map."""
    check_dataset(dataset, model.card)
    kinds = dict.fromkeys(
        (default_settings(model.card.architecture, "gradcam"), map_settings(model.card))
    )
    if segmenter is None:
        return ()
    found = []
    for target, name in enumerate(model.card.class_names):
        rows = _sample(predictions, target, SAMPLE)
        pairs = [
            (image, segmenter.mask(image))
            for image in _read(dataset, [predictions.samples[i] for i in rows])
        ]
        seen = [i for i, (_, mask) in enumerate(pairs) if mask.any()]
        size = model.card.preprocessing.image_size
        lungs = np.stack([resize_mask(pairs[i][1], size) for i in seen])
        groups = None if predictions.groups is None else predictions.groups[rows][seen]
        for settings in kinds:
            few = slice(0, COSTLY) if _is_costly(settings) else slice(None)
            images = [pairs[i][0] for i in seen][few]
            maps = _placed_maps(model, images, np.full(len(images), target), settings)
            own = None if groups is None else groups[few]
            shares = (
                mean_interval(shares_inside(maps, lungs[few]), own),
                mean_interval(lungs[few].mean(axis=(1, 2)), own),
            )
            found.append(LungShare(name, settings, len(images), *shares))
    return tuple(found)


def measure_faithfulness(
    model: Classifier, dataset: Dataset, predictions: Predictions
) -> tuple[Faithfulness, ...]:
    """Measure, on a fixed sample of test pictures, whether the best maps of each method say what the network uses."""
    check_dataset(dataset, model.card)
    share = SAMPLE // len(model.card.class_names)
    # One of each class in turn, so that the first few are of all classes.
    chosen = np.stack(
        [_sample(predictions, k, share) for k in range(len(model.card.class_names))], axis=1
    ).ravel()
    rows, views = [], []
    for row, image in zip(
        chosen, _read(dataset, [predictions.samples[i] for i in chosen]), strict=True
    ):
        try:
            views.append(model.view(image).pixels)
        except ImageError:  # no lungs, for a model that sees nothing else
            continue
        rows.append(row)
    pixels, targets = np.stack(views), predictions.y_pred[rows]
    groups = None if predictions.groups is None else predictions.groups[rows]
    noise = faithfulness.probability_curves(
        model, pixels, targets, noise_maps(len(pixels), pixels.shape[-1], SEED)
    )
    found = []
    for method in tqdm(METHOD_TITLES, desc=f"{model.card.model_id}: faithfulness", disable=None):
        settings = map_settings(model.card, method)
        costly = _is_costly(settings)
        n, few = (COSTLY if costly else len(pixels)), (PERTURBED_COSTLY if costly else PERTURBED)
        with model.lock:
            heats, _ = heat_maps(
                model.network, model.card.preprocessing, pixels[:n], targets[:n], settings
            )
        own = None if groups is None else groups[:n]
        curves = faithfulness.probability_curves(model, pixels[:n], targets[:n], heats)
        area = [mean_interval(areas(curve), own) for curve in curves]
        gain = [
            mean_interval(areas(curve) - areas(other[:n]), own)
            for curve, other in zip(curves, noise, strict=True)
        ]
        perturbed = faithfulness.infidelity_and_sensitivity(
            model, pixels[:few], targets[:few], settings
        )
        infidelity, sensitivity = (
            mean_interval(values, None if own is None else own[:few]) for values in perturbed
        )
        found.append(
            Faithfulness(
                settings=settings,
                n=n,
                deletion=_curve(curves[0]),
                insertion=_curve(curves[1]),
                random_deletion=_curve(noise[0][:n]),
                random_insertion=_curve(noise[1][:n]),
                deletion_area=area[0],
                insertion_area=area[1],
                deletion_gain=gain[0],
                insertion_gain=gain[1],
                n_perturbed=few,
                infidelity=infidelity,
                sensitivity=sensitivity,
                cascade=faithfulness.cascade(model, pixels[:few], targets[:few], settings),
            )
        )
    return tuple(found)


def _is_costly(settings: MapSettings) -> bool:
    return settings.method not in ("gradcam", "hirescam")


def _read(dataset: Dataset, names: Iterable[str]) -> list[GreyImage]:
    with dataset.files() as files:
        return [read_image(files.read(name), name) for name in names]


def _sample(predictions: Predictions, target: int, most: int) -> Labels:
    """Return the rows of at most so many test pictures of a class, in the same random order each time."""
    rows = np.flatnonzero((predictions.y_true == target) & (np.array(predictions.splits) == "test"))
    return np.random.default_rng(SEED).permutation(rows)[:most]


def _curve(curves: Maps) -> tuple[float, ...]:
    return tuple(round(float(p), 4) for p in curves.mean(axis=0))


def _placed_maps(
    model: Classifier,
    images: Sequence[GreyImage],
    targets: Labels,
    settings: MapSettings,
    raw: dict[MapSettings, Maps] | None = None,
) -> Maps:
    """Return maps on the squares of whole pictures; `raw` keeps those that differ in smoothing alone from being made twice."""
    views = [model.view(image) for image in images]
    kept, key = {} if raw is None else raw, replace(settings, smoothing=0.0)
    if key not in kept:
        kept.clear()  # those of one kind follow one another; all at once would fill the memory
        with model.lock:
            kept[key], _ = raw_maps(
                model.network,
                model.card.preprocessing,
                np.stack([v.pixels for v in views]),
                targets,
                key,
            )
    return np.stack(
        [
            place_on_square(heat, view.box)
            for heat, view in zip(finish_maps(kept[key], settings), views, strict=True)
        ]
    )


def _find_boxed(model: Classifier, dataset: Dataset, predictions: Predictions) -> _Boxed | None:
    """Return the pictures with boxes that the model was not trained on and calls right; None where the dataset has none."""
    boxes = read_boxes(dataset)
    label_of = {sample.file: sample.label for sample in dataset.samples}
    if not boxes:
        return None
    # Boxes mark one class; were there several, the most common would be it.
    target = Counter(label_of[file] for file in boxes).most_common(1)[0][0]
    size, held_out = (
        model.card.preprocessing.image_size,
        set(predictions.samples) | {file for file, _ in model.card.excluded},
    )
    train = [file for file in boxes if file not in held_out and label_of[file] == target]
    right = (
        (predictions.y_true == target)
        & (predictions.y_pred == target)
        & np.isin(predictions.samples, list(boxes))
    )
    own = predictions.where(right)
    images = _read(dataset, own.samples)
    seen = np.array([_is_seen(model, image) for image in images], dtype=bool)
    own, images = own.where(seen), [image for image, kept in zip(images, seen, strict=True) if kept]
    if not train or {"val", "test"} - set(own.splits):
        raise DatasetError(
            f"{dataset.path} has too few pictures with boxes that {model.card.model_id} calls right to judge its maps"
        )
    masks = np.stack(
        [
            box_mask(boxes[file], image.shape, size)
            for file, image in zip(own.samples, images, strict=True)
        ]
    )
    shapes = [image.shape for image in _read(dataset, train)]
    constant = np.mean(
        [box_mask(boxes[file], shape, size) for file, shape in zip(train, shapes, strict=True)],
        axis=0,
    )
    return _Boxed(own, images, masks, constant.astype(np.float32))


def _is_seen(model: Classifier, image: GreyImage) -> bool:
    try:
        model.view(image)
    except ImageError:
        return False
    return True


def _judge_rivals(segmenter: Segmenter | None, boxed: _Boxed, target: str) -> list[Localisation]:
    """Return how the maps do that know nothing of the model."""
    n, size = len(boxed.images), boxed.constant.shape[0]
    centre = np.zeros((size, size), dtype=np.float32)
    centre[size // 2, size // 2] = 1
    rivals = {
        "constant": np.broadcast_to(boxed.constant, (n, size, size)),
        "noise": noise_maps(n, size, SEED),
        "centre": np.broadcast_to(centre, (n, size, size)),
    }
    if segmenter is not None:
        lungs = np.stack([resize_mask(segmenter.mask(image), size) for image in boxed.images])
        # Spread evenly, and so pointing to any place in the lungs: the noise is too small to matter to the share.
        rivals["lungs"] = lungs * (
            1 + 1e-4 * np.random.default_rng(SEED).random(lungs.shape, dtype=np.float32)
        )
    return [_judge(boxed, maps, n, target, None, name) for name, maps in rivals.items()]


def _judge(
    boxed: _Boxed, maps: Maps, most: int, target: str, settings: MapSettings | None, rival: str = ""
) -> Localisation:
    """Judge maps (N, S, S) on the first `most` pictures of val, of test and of both."""

    def part(split: str) -> Pointing:
        rows = boxed.rows(split, most)
        groups = None if boxed.pictures.groups is None else boxed.pictures.groups[rows]
        constant = pointing_hits(
            np.broadcast_to(boxed.constant, (len(rows), *boxed.constant.shape)), boxed.masks[rows]
        )
        return pointing(maps[rows], boxed.masks[rows], constant, groups)

    return Localisation(target, settings, rival, part("val"), part("test"), part("both"))  # type: ignore[arg-type]
