"""Frozen records that the packages exchange, and the vocabulary they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from covidxr.errors import ConfigError

RESEARCH_ONLY = "For research and education only. Not a medical device."
CLASS_NAMES = ("Normal", "COVID", "Viral Pneumonia", "Lung_Opacity")
SPLITS = ("train", "val", "test")

Labels = npt.NDArray[np.int64]
"""(N,) class indices into a tuple of class names."""
Scores = npt.NDArray[np.float64]
"""(N, C) probabilities; rows sum to 1."""
GrayImage = npt.NDArray[np.uint8]
"""(H, W) gray values; 0 is black."""

SplitName = Literal["train", "val", "test"]
Protocol = Literal["grouped", "stratified", "given"]
"""How a dataset is split; given is the predefined split of the dataset's own table."""

_DISPLAY_NAMES = {
    "COVID": "COVID-19",
    "Viral Pneumonia": "Viral pneumonia",
    "Lung_Opacity": "Lung opacity",
}


def display_name(class_name: str) -> str:
    """Return the name of a class for display, such as `COVID-19` for `COVID`."""
    return _DISPLAY_NAMES.get(class_name, class_name)


def require(condition: bool, sentence: str) -> None:
    """Raise ConfigError with the sentence unless the condition holds."""
    if not condition:
        raise ConfigError(sentence)


def _setting(title: str, help: str, default: Any = MISSING) -> Any:
    """A field that users set, with its title and help text on screen."""
    return field(default=default, metadata={"title": title, "help": help})


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval, 95% unless stated otherwise."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SplitFractions:
    """Fraction of the samples in each split; the three sum to 1."""

    train: float = 0.70
    val: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        for name in SPLITS:
            share = getattr(self, name)
            require(0.0 < share < 1.0, f"the {name} fraction must be between 0 and 1, got {share}")
        total = self.train + self.val + self.test
        require(
            math.isclose(total, 1.0, abs_tol=1e-6),
            "split fractions must sum to 1, got "
            f"{self.train} + {self.val} + {self.test} = {total:g}",
        )


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How the samples are split: protocol, seed and fractions.

    `given` is the dataset's own split and ignores seed and fractions.
    """

    protocol: Protocol = "grouped"
    seed: int = 0
    fractions: SplitFractions = field(default_factory=SplitFractions)

    def __post_init__(self) -> None:
        allowed = self.protocol in ("grouped", "stratified", "given")
        require(allowed, f"protocol must be given, grouped or stratified, got {self.protocol!r}")
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a radiograph becomes the input of a network, in training and in use alike.

    The image is padded to a square with black, resized to `image_size` by antialiased bicubic
    interpolation, repeated over three channels, scaled to [0, 1] and normalized by `mean` and
    `std` (one value per channel).
    """

    image_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    segmenter_sha256: str = ""
    """Hash of the lung segmenter's weights, for a model whose input is the lungs alone, cropped to
    their bounding box; empty for the full image."""

    def __post_init__(self) -> None:
        require(
            32 <= self.image_size <= 1024,
            f"image_size must be between 32 and 1024 pixels, got {self.image_size}",
        )
        require(min(self.std) > 0, f"std must be positive, got {self.std}")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random transforms of the training images; ranges are symmetric around no change."""

    rotation_degrees: float = _setting(
        "Rotation (degrees)", "Maximum random rotation, in either direction.", 0.0
    )
    horizontal_flip: bool = _setting(
        "Horizontal flip",
        "Flips half of the training images. This reverses laterality.",
        False,
    )
    zoom: float = _setting("Zoom", "Maximum random change of scale, as a fraction.", 0.0)
    shift: float = _setting("Shift", "Maximum random shift, as a fraction of the edge.", 0.0)
    contrast: float = _setting(
        "Contrast", "Maximum random change of contrast and brightness, as a fraction.", 0.0
    )

    def __post_init__(self) -> None:
        require(
            0 <= self.rotation_degrees <= 180,
            f"rotation_degrees must be between 0 and 180, got {self.rotation_degrees}",
        )
        for name in ("zoom", "shift", "contrast"):
            share = getattr(self, name)
            require(0 <= share < 1, f"{name} must be 0 or more and less than 1, got {share}")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self != Augmentation()


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines how a model is trained, except the data."""

    name: str
    architecture: str = _setting(
        "Network",
        "Architecture. The small CNN trains in minutes; a ResNet is far more accurate.",
    )
    init: Literal["random", "imagenet"] = _setting(
        "Initial weights",
        "imagenet: pretrained, for higher accuracy and faster convergence. random: from scratch.",
    )
    image_size: int = _setting(
        "Input size (px)", "Edge of the input image. Doubling it quadruples compute."
    )
    epochs: int = _setting("Epochs", "Maximum number of passes over the training set.")
    batch_size: int = _setting(
        "Batch size", "Images per optimization step. Larger batches need more memory."
    )
    optimizer: Literal["sgd", "adam", "adamw"] = _setting("Optimizer", "Optimization algorithm.")
    learning_rate: float = _setting(
        "Learning rate", "Step size. Too large diverges, too small converges slowly."
    )
    region: Literal["picture", "lungs"] = _setting(
        "Input region",
        "`picture`: the full image. `lungs`: cropped to the lungs, all else black; less accurate, "
        "but with fewer shortcuts.",
        "picture",
    )
    momentum: float = _setting("Momentum", "Momentum of SGD; other optimizers ignore it.", 0.9)
    weight_decay: float = _setting(
        "Weight decay", "L2 regularization (decoupled in AdamW), against overfitting.", 0.0
    )
    schedule: Literal["constant", "one-cycle"] = _setting(
        "Learning rate schedule",
        "constant: no change. one-cycle: rises to the learning rate, then decays to almost zero.",
        "constant",
    )
    label_smoothing: float = _setting(
        "Label smoothing", "Smoothing factor of the labels, against overconfidence.", 0.0
    )
    class_balance: float = _setting(
        "Class balance",
        "Weights each class by its training frequency to the power of minus this value. "
        "0: unweighted, 1: fully balanced.",
        0.0,
    )
    ema_decay: float = _setting(
        "EMA decay",
        "Decay per step of an exponential moving average of the weights, such as 0.99; "
        "the average becomes the model. 0: off.",
        0.0,
    )
    frozen_stages: int = _setting(
        "Frozen stages",
        "Number of first stages with frozen weights and batch statistics: faster, less adaptable.",
        0,
    )
    augmentation: Augmentation = field(default_factory=Augmentation)
    patience: int = _setting(
        "Patience", "Stops after this many epochs without a better validation macro-F1.", 5
    )
    seed: int = _setting(
        "Training seed",
        "The same seed reproduces the network bit for bit on the same machine.",
        0,
    )

    def __post_init__(self) -> None:
        Preprocessing(image_size=self.image_size)
        require(bool(self.name), "a recipe needs a name")
        require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        require(
            2 <= self.batch_size <= 4096,
            f"batch_size must be between 2 and 4096, got {self.batch_size}",
        )
        require(
            self.optimizer in ("sgd", "adam", "adamw"),
            f"optimizer must be sgd, adam or adamw, got {self.optimizer!r}",
        )
        require(
            0 < self.learning_rate <= 10,
            f"learning_rate must be positive and at most 10, got {self.learning_rate}",
        )
        require(
            0 <= self.momentum < 1,
            f"momentum must be 0 or more and less than 1, got {self.momentum}",
        )
        require(
            0 <= self.weight_decay <= 1,
            f"weight_decay must be between 0 and 1, got {self.weight_decay}",
        )
        require(
            self.schedule in ("constant", "one-cycle"),
            f"schedule must be constant or one-cycle, got {self.schedule!r}",
        )
        require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing must be 0 or more and less than 1, got {self.label_smoothing}",
        )
        require(
            0 <= self.class_balance <= 1,
            f"class_balance must be between 0 and 1, got {self.class_balance}",
        )
        require(
            0 <= self.ema_decay < 1,
            f"ema_decay must be 0 or more and less than 1, got {self.ema_decay}",
        )
        require(
            self.region in ("picture", "lungs"),
            f"region must be `picture` or `lungs`, got {self.region!r}",
        )
        require(
            self.init in ("random", "imagenet"),
            f"init must be random or imagenet, got {self.init!r}",
        )
        require(
            self.frozen_stages >= 0, f"frozen_stages must be 0 or more, got {self.frozen_stages}"
        )
        require(self.patience >= 1, f"patience must be 1 or more, got {self.patience}")
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")

    def override(self, **changes: object) -> Recipe:
        """Return a copy with some fields changed.

        Args:
            changes: Values by field name; the fields of the augmentation count as the recipe's.

        Raises:
            ConfigError: For a field that does not exist or a value outside its range.
        """
        own = {f.name for f in fields(self)} - {"augmentation"}
        augmentation = {f.name for f in fields(Augmentation)}
        unknown = sorted(set(changes) - own - augmentation)
        require(
            not unknown,
            f"a recipe has no field {', '.join(unknown)}; "
            f"it has {', '.join(sorted(own | augmentation))}",
        )
        inner: dict[str, Any] = {k: v for k, v in changes.items() if k in augmentation}
        outer: dict[str, Any] = {k: v for k, v in changes.items() if k in own}
        return replace(self, augmentation=replace(self.augmentation, **inner), **outer)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions of a model for a set of samples: the only link between networks and metrics."""

    class_names: tuple[str, ...]
    samples: tuple[str, ...]
    """(N,) file names, relative to the dataset."""
    splits: tuple[str, ...]
    """(N,) train, val or test."""
    y_true: Labels
    """(N,) class indices of the reference labels."""
    y_score: Scores
    """(N, C) predicted probabilities."""
    groups: Labels | None = None
    """(N,) group numbers: samples of one patient, and near-duplicates, share one and are not
    independent. None if unknown."""
    sources: tuple[str, ...] | None = None
    """(N,) source collection of each sample; None if the dataset has no source information."""

    def __post_init__(self) -> None:
        n, c = len(self.samples), len(self.class_names)
        require(
            len(set(self.class_names)) == c >= 2,
            f"class_names must be two or more different names, got {self.class_names}",
        )
        require(
            len(self.splits) == n,
            f"expected one split per sample, got {len(self.splits)} for {n} samples",
        )
        require(
            self.y_true.shape == (n,), f"expected y_true of shape ({n},), got {self.y_true.shape}"
        )
        require(
            self.y_score.shape == (n, c),
            f"expected y_score of shape ({n}, {c}), got {self.y_score.shape}",
        )
        require(
            self.groups is None or self.groups.shape == (n,), f"expected groups of shape ({n},)"
        )
        require(
            self.sources is None or len(self.sources) == n,
            f"expected one source per sample, {n} in all",
        )
        require(len(set(self.samples)) == n, "a sample appears twice in the predictions")
        if n:
            require(
                self.y_true.min() >= 0 and self.y_true.max() < c,
                f"y_true must be between 0 and {c - 1}",
            )
            require(
                bool(np.isfinite(self.y_score).all()), "y_score contains a value that is not finite"
            )
            require(
                bool(np.allclose(self.y_score.sum(axis=1), 1.0, atol=1e-3)),
                "the rows of y_score must sum to 1",
            )

    @property
    def y_pred(self) -> Labels:
        """(N,) indices of the predicted classes."""
        return np.asarray(self.y_score.argmax(axis=1), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.samples)

    def where(self, mask: npt.NDArray[np.bool_]) -> Predictions:
        """Return the samples where a mask, (N,), is true."""
        rows = np.flatnonzero(mask).tolist()
        return Predictions(
            self.class_names,
            tuple(self.samples[i] for i in rows),
            tuple(self.splits[i] for i in rows),
            self.y_true[rows],
            self.y_score[rows],
            None if self.groups is None else self.groups[rows],
            None if self.sources is None else tuple(self.sources[i] for i in rows),
        )

    def take(self, split: str) -> Predictions:
        """Return the samples of one split.

        Raises:
            ConfigError: If there are none.
        """
        mask = np.array([s == split for s in self.splits], dtype=bool)
        require(
            bool(mask.any()),
            f"no predictions for the split {split!r}; there are "
            f"{', '.join(sorted(set(self.splits)))}",
        )
        return self.where(mask)


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Heat map of one image: how much each pixel contributes to the score of a class."""

    method: str
    """Key of `cards.METHOD_TITLES`."""
    target: str
    """The explained class."""
    heat: npt.NDArray[np.float32]
    """(S, S) at the network's input size, for the image padded to a square. The largest magnitude
    is 1, unless all is 0. gradcam and hirescam give evidence for the class only, in [0, 1]; the
    other methods also evidence against it, in [-1, 1]."""
    native_grid: tuple[int, int]
    """Rows and columns at which the method computed it."""


@dataclass(frozen=True, slots=True, eq=False)
class CasePrediction:
    """Prediction of a model for one image."""

    model_id: str
    probabilities: Mapping[str, float]
    """Calibrated, by class name."""
    rejections: tuple[str, ...] = ()
    """Sentences: why the image is rejected. The probabilities are unreliable then."""

    @property
    def predicted(self) -> str:
        """The predicted class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


@dataclass(frozen=True, slots=True)
class Stability:
    """Predictions for the original image and slightly rotated and flipped versions of it."""

    ranges: Mapping[str, tuple[float, float]]
    """Lowest and highest probability of each class."""
    called: tuple[str, ...]
    """Predicted class of each version, the original first."""

    @property
    def kept(self) -> int:
        """Number of versions, including the original, with the prediction of the original."""
        return self.called.count(self.called[0])
