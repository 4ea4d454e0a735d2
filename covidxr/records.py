"""The frozen records that every room speaks in, and the vocabulary they share."""

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
"""(N, C) probabilities, rows add up to 1."""
GreyImage = npt.NDArray[np.uint8]
"""(H, W) grey values, 0 is black."""

SplitName = Literal["train", "val", "test"]
Protocol = Literal["grouped", "stratified", "given"]
"""How a dataset is divided; given is the split that the dataset's own table names."""


_DISPLAY_NAMES = {
    "COVID": "COVID-19",
    "Viral Pneumonia": "Viral pneumonia",
    "Lung_Opacity": "Lung opacity",
}


def display_name(class_name: str) -> str:
    """Return a class as people write it, such as `COVID-19` for `COVID`."""
    return _DISPLAY_NAMES.get(class_name, class_name)


def require(condition: bool, sentence: str) -> None:
    """Raise ConfigError, with the sentence that says what is wrong, unless the condition holds."""
    if not condition:
        raise ConfigError(sentence)


def _setting(title: str, help: str, default: Any = MISSING) -> Any:
    """A field that people set: what it is called on screen, and what it does."""
    return field(default=default, metadata={"title": title, "help": help})


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its confidence interval (95 % unless said otherwise)."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SplitFractions:
    """Share of the samples that each split receives; the three add up to 1."""

    train: float = 0.70
    val: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        for name in SPLITS:
            share = getattr(self, name)
            require(0.0 < share < 1.0, f"the {name} fraction must lie between 0 and 1, got {share}")
        total = self.train + self.val + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ConfigError(
                f"split fractions must add up to 1, got {self.train} + {self.val} + {self.test} = {total:g}"
            )


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How the samples are divided: the protocol, the seed and the fractions (the last two have no say under given)."""

    protocol: Protocol = "grouped"
    seed: int = 0
    fractions: SplitFractions = field(default_factory=SplitFractions)

    def __post_init__(self) -> None:
        allowed = self.protocol in ("grouped", "stratified", "given")
        require(allowed, f"protocol must be given, grouped or stratified, got {self.protocol!r}")
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What turns a radiograph into a network's input, the same in training and in use.

    The picture is padded to a square with black, reduced to `image_size` by antialiased bicubic interpolation, repeated over
    three channels, scaled to [0, 1] and normalised by `mean` and `std` (one value a channel).
    """

    image_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    segmenter_sha256: str = ""
    """Of the lung segmenter's weights, for a model that sees only the lungs, cropped to their box; empty for the whole picture."""

    def __post_init__(self) -> None:
        require(
            32 <= self.image_size <= 1024,
            f"image_size must lie between 32 and 1024 pixels, got {self.image_size}",
        )
        require(min(self.std) > 0, f"std must be positive, got {self.std}")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes made to the training images; ranges are symmetric about no change."""

    rotation_degrees: float = _setting(
        "Rotation (degrees)", "Turns each training picture by up to this angle either way.", 0.0
    )
    horizontal_flip: bool = _setting(
        "Flip left and right",
        "Mirrors half of the training pictures; the heart then lies right.",
        False,
    )
    zoom: float = _setting(
        "Zoom", "Enlarges or shrinks each training picture by up to this share.", 0.0
    )
    shift: float = _setting(
        "Shift", "Moves each training picture by up to this share of its edge.", 0.0
    )
    contrast: float = _setting(
        "Contrast",
        "Changes contrast and brightness of each training picture by up to this share.",
        0.0,
    )

    def __post_init__(self) -> None:
        require(
            0 <= self.rotation_degrees <= 180,
            f"rotation_degrees must lie between 0 and 180, got {self.rotation_degrees}",
        )
        for name in ("zoom", "shift", "contrast"):
            share = getattr(self, name)
            require(0 <= share < 1, f"{name} must be 0 or more and less than 1, got {share}")

    @property
    def active(self) -> bool:
        """Whether any change is made at all."""
        return self != Augmentation()


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides how a model is trained, but the data."""

    name: str
    architecture: str = _setting(
        "Network",
        "What is trained. The small CNN learns in minutes; a ResNet is far more accurate.",
    )
    init: Literal["random", "imagenet"] = _setting(
        "Initial weights",
        "imagenet begins with a network that has learned from photographs: more accurate, and sooner so.",
    )
    image_size: int = _setting(
        "Picture size (px)",
        "Edge to which pictures are reduced. Twice the edge costs four times the time and shows finer detail.",
    )
    epochs: int = _setting("Epochs", "How often the network sees every training picture.")
    batch_size: int = _setting(
        "Batch size", "Pictures in one step of learning. Larger needs more memory."
    )
    optimizer: Literal["sgd", "adam", "adamw"] = _setting(
        "Optimizer", "The rule by which a step changes the weights."
    )
    learning_rate: float = _setting(
        "Learning rate", "How far a step changes the weights; too large diverges, too small crawls."
    )
    region: Literal["picture", "lungs"] = _setting(
        "What it sees",
        "lungs blackens all but the lungs and crops to them: less accurate, and fewer shortcuts to take.",
        "picture",
    )
    momentum: float = _setting(
        "Momentum", "Share of the last step that the next one keeps; sgd alone uses it.", 0.9
    )
    weight_decay: float = _setting(
        "Weight decay", "Pulls the weights towards zero, against learning pictures by heart.", 0.0
    )
    schedule: Literal["constant", "one-cycle"] = _setting(
        "Schedule",
        "constant keeps the learning rate; one-cycle raises it to the value given, then lets it fall to almost nothing.",
        "constant",
    )
    label_smoothing: float = _setting(
        "Label smoothing", "Share of certainty taken from each label, against overconfidence.", 0.0
    )
    class_balance: float = _setting(
        "Class balance",
        "A rare class counts more: its share of the training pictures, to the power of minus this. 0 is none, 1 full balance.",
        0.0,
    )
    ema_decay: float = _setting(
        "Weight averaging",
        "Decay a step of the weights' moving average, which then is the model, such as 0.99. 0 is none.",
        0.0,
    )
    frozen_stages: int = _setting(
        "Frozen stages",
        "How many of the network's first stages keep their initial weights and statistics: faster, for less to learn.",
        0,
    )
    augmentation: Augmentation = field(default_factory=Augmentation)
    patience: int = _setting(
        "Patience", "Epochs without a better macro-F1 on validation after which training stops.", 5
    )
    seed: int = _setting(
        "Training seed",
        "The same seed trains the same network, bit for bit, on the same machine.",
        0,
    )

    def __post_init__(self) -> None:
        Preprocessing(image_size=self.image_size)
        require(bool(self.name), "a recipe needs a name")
        require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        require(
            2 <= self.batch_size <= 4096,
            f"batch_size must lie between 2 and 4096, got {self.batch_size}",
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
            f"weight_decay must lie between 0 and 1, got {self.weight_decay}",
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
            f"class_balance must lie between 0 and 1, got {self.class_balance}",
        )
        require(
            0 <= self.ema_decay < 1,
            f"ema_decay must be 0 or more and less than 1, got {self.ema_decay}",
        )
        require(
            self.region in ("picture", "lungs"),
            f"region must be picture or lungs, got {self.region!r}",
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
        """Return a copy with some fields changed; augmentation fields are named as if they were the recipe's own.

        Raises ConfigError for a field that does not exist or a value that makes no sense.
        """
        own, augmentation = (
            {f.name for f in fields(self)} - {"augmentation"},
            {f.name for f in fields(Augmentation)},
        )
        unknown = sorted(set(changes) - own - augmentation)
        require(
            not unknown,
            f"a recipe has no field {', '.join(unknown)}; it has {', '.join(sorted(own | augmentation))}",
        )
        inner: dict[str, Any] = {k: v for k, v in changes.items() if k in augmentation}
        outer: dict[str, Any] = {k: v for k, v in changes.items() if k in own}
        return replace(self, augmentation=replace(self.augmentation, **inner), **outer)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model said about a set of samples: the hinge between networks and numbers.

    samples: (N,) file names relative to the dataset.  splits: (N,) train, val or test.
    y_true: (N,) class indices.  y_score: (N, C) softmax probabilities.
    groups: (N,) number that samples of one patient, and near-duplicates, share: they are not independent; None if unknown.
    sources: (N,) collection that each sample came from; None if the dataset names none.
    """

    class_names: tuple[str, ...]
    samples: tuple[str, ...]
    splits: tuple[str, ...]
    y_true: Labels
    y_score: Scores
    groups: Labels | None = None
    sources: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        n, c = len(self.samples), len(self.class_names)
        require(
            len(set(self.class_names)) == c >= 2,
            f"class_names must be two or more different names, got {self.class_names}",
        )
        require(
            len(self.splits) == n,
            f"expected one split a sample, got {len(self.splits)} for {n} samples",
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
            f"expected one source a sample for {n} samples",
        )
        require(len(set(self.samples)) == n, "a sample stands twice in the predictions")
        if n:
            require(
                self.y_true.min() >= 0 and self.y_true.max() < c,
                f"y_true must lie between 0 and {c - 1}",
            )
            require(
                bool(np.isfinite(self.y_score).all()), "y_score holds a value that is not a number"
            )
            require(
                bool(np.allclose(self.y_score.sum(axis=1), 1.0, atol=1e-3)),
                "the rows of y_score must add up to 1",
            )

    @property
    def y_pred(self) -> Labels:
        """(N,) the class of the highest probability."""
        return np.asarray(self.y_score.argmax(axis=1), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.samples)

    def where(self, mask: npt.NDArray[np.bool_]) -> Predictions:
        """Return the samples for which mask (N,) is true."""
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
        """Return the samples of one split. Raises ConfigError if there are none."""
        mask = np.array([s == split for s in self.splits], dtype=bool)
        require(
            bool(mask.any()),
            f"no predictions for the split {split!r}; there are {', '.join(sorted(set(self.splits)))}",
        )
        return self.where(mask)


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Where in the picture a model found its reasons.

    heat: (S, S) float at the network's input size, on the picture padded to a square; its largest magnitude is 1, or it is all
    zero.
    gradcam and hirescam say only what spoke for the class, in [0, 1]; the others also what spoke against it, in [-1, 1].
    `native_grid` is the (rows, columns) they were computed on.
    """

    method: str
    target: str
    heat: npt.NDArray[np.float32]
    native_grid: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class CasePrediction:
    """What a model said of one picture."""

    model_id: str
    probabilities: Mapping[str, float]
    refusals: tuple[str, ...] = ()
    """Why the model may not judge this picture, a sentence each; its probabilities then deserve no belief."""

    @property
    def predicted(self) -> str:
        """The class of the highest probability."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


@dataclass(frozen=True, slots=True)
class Stability:
    """What became of an answer when its picture was mirrored and turned a little."""

    ranges: Mapping[str, tuple[float, float]]
    """The lowest and the highest probability of each class."""
    called: tuple[str, ...]
    """The class of the highest probability in each version, the picture as it is first."""

    @property
    def kept(self) -> int:
        """Number of versions, the picture itself among them, in which the answer is the same."""
        return self.called.count(self.called[0])
