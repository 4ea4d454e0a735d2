"""What is written down of a model and kept beside its weights: the card, and the records that it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from covidxr.records import Augmentation, Interval, Preprocessing, Recipe, SplitPlan, require

CARD_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ThresholdFigures:
    """What a threshold on one class's probability does: a sample is called positive when its score is the threshold or more.

    A figure is None where nothing stands in its denominator.
    """

    threshold: float
    positives: int
    negatives: int
    called: int
    sensitivity: Interval | None
    specificity: Interval | None
    ppv: Interval | None
    npv: Interval | None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold chosen by a rule, with its figures on the samples it was chosen on; without them, the reason why not."""

    rule: str
    threshold: float | None
    figures: ThresholdFigures | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SetFigures:
    """What prediction sets came to on n test samples: share that hold the true class, mean number of classes, share left empty."""

    n: int
    covered: Interval
    size: Interval
    empty: Interval


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """The least calibrated probability, chosen on val, with which each class joins the set, so that `coverage` hold the truth."""

    coverage: float
    thresholds: dict[str, float]
    overall: SetFigures
    by_class: dict[str, SetFigures]
    """By true class."""


@dataclass(frozen=True, slots=True)
class GateFigures:
    """The gate before a model: how far from its training pictures one may lie, and how well that tells foreign pictures."""

    thresholds: dict[str, float]
    """Greatest distances in the network's `features`, the picture's `layout` and its `texture`; on val, 95 % pass all three."""
    sha256: str
    """Of gate.safetensors."""
    refused: Interval
    """Share of the test pictures that are turned away."""
    auroc: Interval
    """Of the largest of the distances, each over its threshold: test pictures against foreign ones."""
    foreign: dict[str, tuple[int, Interval]]
    """By kind of foreign picture: their number, and the share that is turned away."""
    altered: dict[str, tuple[int, Interval]]
    """The same of test pictures that are altered so that no model may judge them, by what was done to them."""


@dataclass(frozen=True, slots=True)
class EpochFigures:
    """What one epoch of training came to; losses are those of the recipe, accuracies and macro-F1 lie in [0, 1]."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float


@dataclass(frozen=True, slots=True)
class ShortcutCheck:
    """One look at whether where a picture is from, and not what it shows, could carry a model's figures.

    "border" and "intensity" are baselines that see nothing of the lungs; "within-source" is the model's own AUROC between two
    classes of one collection, where knowing the collection is of no help; "source-from-features" is how well the model's
    penultimate features tell the collections of one class apart; "lungs-blackened" and "lungs-only" are how
    well it does on pictures without their lungs, and on such of nothing else. Without figures, `reason` says why there are none.
    """

    kind: Literal[
        "border",
        "intensity",
        "within-source",
        "source-from-features",
        "lungs-blackened",
        "lungs-only",
    ]
    subject: str
    """What was told apart, in words: `rsna: Normal vs Lung_Opacity`."""
    n: int
    """Test samples behind the figures."""
    figures: dict[str, Interval]
    """By name: accuracy, macro_f1, auroc (of the subject) or auroc of a class against the rest, by class name."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MapSettings:
    """How a heat map is made: the method, and what it leaves open."""

    method: Literal["gradcam", "hirescam", "integrated-gradients", "occlusion", "gradient-shap"]
    layer: str = ""
    """Module whose output gradcam and hirescam explain."""
    score: Literal["contrast", "logit"] = "contrast"
    """What is explained: the class's logit, or by how much it exceeds that of the first class, Normal; for Normal itself, its log
    odds, so by how much it exceeds all others together."""
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    """How gradcam and hirescam are brought from the layer's grid to the picture."""
    smoothing: float = 0.0
    """Standard deviation of the Gaussian that the map is smoothed by, as a share of the edge."""
    window: float = 0.0
    """Edge of the patch that occlusion blackens, as a share of the picture's; it moves by half of that."""

    def __post_init__(self) -> None:
        cam = self.method in ("gradcam", "hirescam")
        require(
            self.method in METHOD_TITLES,
            f"method must be one of {', '.join(METHOD_TITLES)}, got {self.method!r}",
        )
        require(
            cam == bool(self.layer),
            f"{self.method} {'needs a' if cam else 'takes no'} layer, got {self.layer!r}",
        )
        require(
            0 <= self.smoothing <= 0.25,
            f"smoothing must lie between 0 and 0.25, got {self.smoothing}",
        )
        occlusion = self.method == "occlusion"
        require(
            0 < self.window <= 0.5 if occlusion else self.window == 0,
            f"{self.method} cannot have a window of {self.window}",
        )


METHOD_TITLES = {
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM",
    "integrated-gradients": "Integrated Gradients",
    "occlusion": "Occlusion",
    "gradient-shap": "GradientShap",
}
"""The methods of heat maps, as people write them."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """How well maps find the radiologists' boxes, on one set of pictures."""

    n: int
    hits: Interval
    """Share of pictures whose map has its highest point in a box; no tolerance."""
    inside: Interval
    """Share of a map's positive part that lies in the boxes, on average; a map of nothing counts as 0."""
    gain: Interval
    """Hits less those of the best constant map on the same pictures."""


@dataclass(frozen=True, slots=True)
class Localisation:
    """Whether the maps of one kind point where the radiologists did, on pictures outside train that the model gets right."""

    target: str
    """The class that was explained, whose pictures have the boxes."""
    settings: MapSettings | None
    """None for a rival, a map that knows nothing of the model."""
    rival: Literal["", "constant", "lungs", "noise", "centre"]
    """constant: the mean of the train pictures' boxes; lungs: their area spread evenly; noise: smoothed, different each time."""
    val: Pointing
    test: Pointing
    both: Pointing


@dataclass(frozen=True, slots=True)
class LungShare:
    """How much of the maps of a class's pictures lies in the lungs, of which the lungs' share of the picture would be chance."""

    target: str
    settings: MapSettings
    n: int
    inside: Interval
    lungs: Interval


@dataclass(frozen=True, slots=True)
class CascadeStep:
    """How alike maps are before and after the network's layers, from its head down to this one, were made random; means."""

    layer: str
    correlation: float
    """Spearman's, of the maps' values."""
    similarity: float
    """SSIM of the maps."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Whether maps say what the network uses, on a fixed sample of test pictures, for the class that it finds most likely."""

    settings: MapSettings
    n: int
    deletion: tuple[float, ...]
    """Mean probability of the class, after 0, 1/20 ... all of the pixels were blackened, the map's hottest first."""
    insertion: tuple[float, ...]
    """The same, as the pixels are put back into a blurred picture."""
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]
    """The same, in the order of maps of smoothed noise."""
    deletion_area: Interval
    insertion_area: Interval
    deletion_gain: Interval
    """Area less that of the noise, pair by pair: below 0 the map knows more than the noise."""
    insertion_gain: Interval
    """The same: above 0 the map knows more than the noise."""
    n_perturbed: int
    """Pictures, the first of the sample, behind what follows."""
    infidelity: Interval
    sensitivity: Interval
    cascade: tuple[CascadeStep, ...]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What must be known of a set of weights before it may be used; stored beside them as card.json."""

    schema_version: int
    model_id: str
    architecture: str
    init: str
    """Where the initial weights came from, in words."""
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Recipe
    split: SplitPlan
    split_fingerprint: str
    dataset_fingerprint: str
    dataset_name: str
    synthetic: bool
    """True when the model was trained on phantoms, not radiographs."""
    class_counts: dict[str, dict[str, int]]
    """Samples by split, then by class."""
    sources: dict[str, dict[str, int]]
    """Samples by class, then by source."""
    best_epoch: int
    temperature: float
    metrics: dict[str, Interval]
    """Figures on the test split with 95 % intervals."""
    operating_points: dict[str, dict[str, OperatingPoint]]
    """Thresholds on the calibrated probabilities, chosen on val, by class, then by rule."""
    training_seconds: float
    machine: str
    covidxr_version: str
    torch_version: str
    created: str
    intended_use: str
    limits: tuple[str, ...]
    weights_sha256: str = ""
    learning_curve: tuple[EpochFigures, ...] = ()
    shortcuts: tuple[ShortcutCheck, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """Images of the dataset that were left out on purpose, each with the reason."""
    localisation: tuple[Localisation, ...] = ()
    lung_shares: tuple[LungShare, ...] = ()
    faithfulness: tuple[Faithfulness, ...] = ()
    prediction_sets: PredictionSets | None = None
    gate: GateFigures | None = None
    external: str = ""
    """Name of the external test set that these figures are of; empty for the model's own test split. Never stored."""


@dataclass(frozen=True, slots=True)
class SegmenterRecipe:
    """How a lung segmenter is trained."""

    image_size: int = 128
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    # Wide, since children and bedside films are laid otherwise than the adults whose masks there are.
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            rotation_degrees=15, horizontal_flip=True, zoom=0.25, shift=0.08, contrast=0.4
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            32 <= self.image_size <= 1024 and self.image_size % 16 == 0,
            f"image_size must be a multiple of 16 from 32 to 1024, got {self.image_size}",
        )
        require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        require(
            2 <= self.batch_size <= 4096,
            f"batch_size must lie between 2 and 4096, got {self.batch_size}",
        )
        require(
            0 < self.learning_rate <= 1,
            f"learning_rate must be positive and at most 1, got {self.learning_rate}",
        )
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, slots=True)
class SegmenterCard:
    """What must be known of a lung segmenter; stored beside its weights as card.json."""

    schema_version: int
    task: Literal["lungs"]
    model_id: str
    architecture: str
    recipe: SegmenterRecipe
    split: SplitPlan
    split_fingerprint: str
    dataset_fingerprint: str
    dataset_name: str
    synthetic: bool
    mask_counts: dict[str, dict[str, int]]
    """Pictures that have a mask, by split, then by class."""
    best_epoch: int
    metrics: dict[str, Interval]
    """Mean over the test pictures: dice and iou; dice of a class as `dice Normal`."""
    worst: tuple[tuple[str, float], ...]
    """The test pictures of the lowest Dice, each with it."""
    training_seconds: float
    machine: str
    covidxr_version: str
    torch_version: str
    created: str
    intended_use: str
    limits: tuple[str, ...]
    weights_sha256: str = ""
