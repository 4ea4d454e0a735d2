"""Training recipes by name: the baseline study's four, and covidxr's own."""

from __future__ import annotations

from covidxr.errors import ConfigError
from covidxr.records import Augmentation, Recipe

_STUDY_AUGMENTATION = Augmentation(rotation_degrees=10, horizontal_flip=True)

_POSTER_CNN = Recipe(
    name="poster-cnn",
    architecture="poster_cnn",
    init="random",
    image_size=128,
    epochs=10,
    batch_size=64,
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    patience=10,
)
_POSTER_RESNET18 = Recipe(
    name="poster-resnet18-scratch",
    architecture="resnet18",
    init="random",
    image_size=128,
    epochs=5,
    batch_size=64,
    optimizer="adam",
    learning_rate=3e-5,
    augmentation=_STUDY_AUGMENTATION,
)

# The first stages are frozen, as by Detectron2's FREEZE_AT: they detect edges in any image, and a
# step at 224 px costs half.
_COVIDXR_RESNET18 = Recipe(
    name="covidxr-resnet18",
    architecture="resnet18",
    init="imagenet",
    image_size=224,
    epochs=5,
    batch_size=32,
    optimizer="adamw",
    learning_rate=2e-4,
    weight_decay=0.02,
    schedule="one-cycle",
    label_smoothing=0.05,
    class_balance=0.25,
    ema_decay=0.99,
    frozen_stages=2,
    augmentation=Augmentation(
        rotation_degrees=8, horizontal_flip=True, zoom=0.08, shift=0.04, contrast=0.15
    ),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _POSTER_CNN,
        _POSTER_CNN.override(
            name="poster-cnn-augmented", rotation_degrees=10.0, horizontal_flip=True
        ),
        _POSTER_RESNET18,
        _POSTER_RESNET18.override(name="poster-resnet18-pretrained", init="imagenet"),
        _COVIDXR_RESNET18,
        # Cropped to the lungs, a smaller image has the same resolution.
        _COVIDXR_RESNET18.override(
            name="covidxr-resnet18-lungs", region="lungs", image_size=160, epochs=8
        ),
    )
}

STUDY_ACCURACY = {
    "poster-cnn": 0.80,
    "poster-cnn-augmented": 0.78,
    "poster-resnet18-scratch": 0.8494,
    "poster-resnet18-pretrained": 0.9531,
}
"""Published accuracy of the baseline study's recipes: 21,165 images, 3,175 of them for the test."""

STUDY_SETTINGS = {
    "architecture": "a small CNN of its own, and ResNet-18",
    "init": "random for the CNN; both for ResNet-18",
    "image_size": "128",
    "epochs": "7 to 10 for the CNN; not reported for ResNet-18",
    "batch_size": "not reported",
    "optimizer": "sgd for the CNN, adam for ResNet-18",
    "learning_rate": "0.01 for the CNN, 0.00003 for ResNet-18",
    "momentum": "0.9 for the CNN",
    "rotation_degrees": "small, not reported exactly",
    "horizontal_flip": "yes",
}
"""What the baseline study reports of a recipe's fields; the others were not used."""


def recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        ConfigError: For an unknown name.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
