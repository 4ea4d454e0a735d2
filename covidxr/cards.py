"""Model card, stored with the weights as card.json, and the records that it consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from covidxr.records import Augmentation, Interval, Preprocessing, Recipe, SplitPlan, require

CARD_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ThresholdMetrics:
    """Performance of a threshold on the probability of one class.

    A sample is predicted positive if its probability is at least the threshold. A metric is None
    where its denominator is 0.
    """

    threshold: float
    positives: int
    negatives: int
    called: int
    """Samples predicted positive."""
    sensitivity: Interval | None
    specificity: Interval | None
    ppv: Interval | None
    npv: Interval | None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold chosen by a rule, with its performance on the samples it was chosen on.

    Where no threshold satisfies the rule, `reason` says why.
    """

    rule: str
    threshold: float | None
    figures: ThresholdMetrics | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SetMetrics:
    """Performance of prediction sets on n test samples."""

    n: int
    covered: Interval
    """Proportion of sets that contain the true class."""
    size: Interval
    """Mean number of classes in a set."""
    empty: Interval
    """Proportion of empty sets."""


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Conformal prediction sets: the classes whose calibrated probability reaches their threshold.

    The thresholds were chosen on val such that, of the images of each class, a proportion
    `coverage` has it in its set.
    """

    coverage: float
    thresholds: dict[str, float]
    overall: SetMetrics
    by_class: dict[str, SetMetrics]
    """By true class."""


@dataclass(frozen=True, slots=True)
class DetectorMetrics:
    """OOD detector of a model: its thresholds, and its performance on OOD images."""

    thresholds: dict[str, float]
    """Maximum distance in the network's `features` and the image's `layout` and `texture`; 95% of
    the val images are within all three."""
    sha256: str
    """Hash of gate.safetensors."""
    refused: Interval
    """Proportion of the test images that are rejected."""
    auroc: Interval
    """AUROC of the largest ratio of a distance to its threshold, test images vs. OOD images."""
    foreign: dict[str, tuple[int, Interval]]
    """By type of OOD image: their number, and the proportion that is rejected."""
    altered: dict[str, tuple[int, Interval]]
    """The same for test images altered until they are OOD, by type of alteration."""


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """Metrics of one epoch: the losses of the recipe, accuracies and macro-F1 in [0, 1]."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float


@dataclass(frozen=True, slots=True)
class ShortcutCheck:
    """One test of whether the source of an image, not its content, may explain the performance.

    border, intensity: baselines whose input excludes the lungs. within-source: the model's AUROC
    between two classes of one collection, where knowing the collection does not help.
    source-from-features: how well the model's penultimate features distinguish the collections of
    one class. lungs-blackened, lungs-only: accuracy on images without the lungs, and on the lungs
    alone.
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
    """What was distinguished, in words: `rsna: Normal vs Lung_Opacity`."""
    n: int
    """Number of test samples."""
    figures: dict[str, Interval]
    """By name: accuracy, macro_f1, auroc (of the subject), or a class name for its AUROC vs. rest.
    Empty if not measured."""
    reason: str = ""
    """Why it was not measured, or a caveat."""


@dataclass(frozen=True, slots=True)
class MapSettings:
    """Configuration of a heat map: the method and its parameters."""

    method: Literal["gradcam", "hirescam", "integrated-gradients", "occlusion", "gradient-shap"]
    layer: str = ""
    """Module whose output gradcam and hirescam use."""
    score: Literal["contrast", "logit"] = "contrast"
    """The explained quantity. logit: that of the class. contrast: its difference from the logit of
    the first class, Normal; for Normal itself, the log odds against all other classes."""
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    """How gradcam and hirescam are upsampled from the grid of the layer to the image."""
    smoothing: float = 0.0
    """Standard deviation of the Gaussian smoothing, as a fraction of the edge."""
    window: float = 0.0
    """Edge of the patch that occlusion blackens, as a fraction of the image's; stride is half."""

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
            f"smoothing must be between 0 and 0.25, got {self.smoothing}",
        )
        occlusion = self.method == "occlusion"
        require(
            0 < self.window <= 0.5 if occlusion else self.window == 0,
            f"window must be between 0 and 0.5 for occlusion and 0 otherwise, got {self.window} "
            f"for {self.method}",
        )


METHOD_TITLES = {
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM",
    "integrated-gradients": "Integrated Gradients",
    "occlusion": "Occlusion",
    "gradient-shap": "GradientShap",
}
"""Attribution methods and their names on screen."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """Localization of the radiologists' boxes by heat maps, on one set of images."""

    n: int
    hits: Interval
    """Pointing-game hit rate: proportion of images with the maximum inside a box, no tolerance."""
    inside: Interval
    """Energy in box: mean proportion of positive attribution in the boxes; 0 if there is none."""
    gain: Interval
    """Hit rate minus that of the fixed-location baseline on the same images."""


@dataclass(frozen=True, slots=True)
class Localization:
    """Localization by one configuration, on correctly classified images of val and test."""

    target: str
    """The explained class, whose images have boxes."""
    settings: MapSettings | None
    """None for a baseline, a map that does not depend on the model."""
    rival: Literal["", "constant", "lungs", "noise", "centre"]
    """The baseline. `constant`: mean of the boxes in train, a fixed location. `lungs`: uniform in
    the lungs. `noise`: smoothed, different for each image. `centre`: the image center."""
    val: Pointing
    test: Pointing
    both: Pointing


@dataclass(frozen=True, slots=True)
class LungShare:
    """Heat-map energy within the lungs, for the images of one class."""

    target: str
    settings: MapSettings
    n: int
    inside: Interval
    """Mean proportion of the positive attribution within the lungs."""
    lungs: Interval
    """Mean lung area, as a fraction of the image: the chance level of `inside`."""


@dataclass(frozen=True, slots=True)
class CascadeStep:
    """Mean similarity to the original maps with all layers from the head to this one randomized."""

    layer: str
    correlation: float
    """Spearman's rank correlation."""
    similarity: float
    """SSIM."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Faithfulness of heat maps of the predicted class, on a fixed sample of test images."""

    settings: MapSettings
    n: int
    deletion: tuple[float, ...]
    """Mean probability of the class with 0, 1/20, ... all pixels blackened, highest heat first."""
    insertion: tuple[float, ...]
    """The same, with pixels restored into a blurred image."""
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]
    """The same, in the order of smoothed noise."""
    deletion_area: Interval
    """Area under the curve; lower is better."""
    insertion_area: Interval
    """Higher is better."""
    deletion_gain: Interval
    """Mean paired difference of the areas, heat map minus noise: faithful if below 0."""
    insertion_gain: Interval
    """The same: faithful if above 0."""
    n_perturbed: int
    """Number of images, the first of the sample, for the fields below."""
    infidelity: Interval
    sensitivity: Interval
    cascade: tuple[CascadeStep, ...]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What users of a model must know; stored with the weights as card.json."""

    schema_version: int
    model_id: str
    architecture: str
    init: str
    """Origin of the initial weights, in words."""
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Recipe
    split: SplitPlan
    split_fingerprint: str
    dataset_fingerprint: str
    dataset_name: str
    synthetic: bool
    """Whether the model was trained on phantoms, not radiographs."""
    class_counts: dict[str, dict[str, int]]
    """Samples by split, then by class."""
    sources: dict[str, dict[str, int]]
    """Samples by class, then by source."""
    best_epoch: int
    temperature: float
    metrics: dict[str, Interval]
    """Metrics on the test split with 95% CI."""
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
    learning_curve: tuple[EpochMetrics, ...] = ()
    shortcuts: tuple[ShortcutCheck, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """Images of the dataset that were excluded, each with the reason."""
    localisation: tuple[Localization, ...] = ()
    lung_shares: tuple[LungShare, ...] = ()
    faithfulness: tuple[Faithfulness, ...] = ()
    prediction_sets: PredictionSets | None = None
    gate: DetectorMetrics | None = None
    external: str = ""
    """Name of the external test set of these metrics; empty for the own test split. Not stored."""


@dataclass(frozen=True, slots=True)
class SegmenterRecipe:
    """How a lung segmenter is trained."""

    image_size: int = 128
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    # Strong: children and bedside radiographs are positioned differently from the masked adults.
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            rotation_degrees=15, horizontal_flip=True, zoom=0.25, shift=0.08, contrast=0.4
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            32 <= self.image_size <= 1024 and self.image_size % 16 == 0,
            f"image_size must be a multiple of 16 between 32 and 1024, got {self.image_size}",
        )
        require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        require(
            2 <= self.batch_size <= 4096,
            f"batch_size must be between 2 and 4096, got {self.batch_size}",
        )
        require(
            0 < self.learning_rate <= 1,
            f"learning_rate must be positive and at most 1, got {self.learning_rate}",
        )
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, slots=True)
class SegmenterCard:
    """What users of a lung segmenter must know; stored with the weights as card.json."""

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
    """Images with a mask, by split, then by class."""
    best_epoch: int
    metrics: dict[str, Interval]
    """Mean over the test images: dice and iou; the Dice of a class as `dice Normal`."""
    worst: tuple[tuple[str, float], ...]
    """The test images with the lowest Dice, and its value."""
    training_seconds: float
    machine: str
    covidxr_version: str
    torch_version: str
    created: str
    intended_use: str
    limits: tuple[str, ...]
    weights_sha256: str = ""
