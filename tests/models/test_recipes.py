"""The recipes of the baseline study and of covidxr."""

from __future__ import annotations

from covidxr.models.recipes import RECIPES


def test_the_recipes_are_those_of_the_baseline_study() -> None:
    for name in ("poster-cnn", "poster-cnn-augmented"):
        row = RECIPES[name]
        assert (row.architecture, row.optimizer, row.learning_rate, row.momentum) == (
            "poster_cnn",
            "sgd",
            0.01,
            0.9,
        )
    for name in ("poster-resnet18-scratch", "poster-resnet18-pretrained"):
        row = RECIPES[name]
        assert (row.architecture, row.optimizer, row.learning_rate, row.weight_decay) == (
            "resnet18",
            "adam",
            3e-5,
            0.0,
        )
    assert all(
        row.image_size == 128 and row.schedule == "constant"
        for name, row in RECIPES.items()
        if name.startswith("poster")
    )
    assert not RECIPES["poster-cnn"].augmentation.active
    augmented = RECIPES["poster-cnn-augmented"].augmentation
    assert (augmented.rotation_degrees, augmented.horizontal_flip) == (10, True)
    assert RECIPES["covidxr-resnet18"].image_size == 224
