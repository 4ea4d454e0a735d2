from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from covidxr.datasets.phantoms import render_phantom
from covidxr.errors import Cancelled, ConfigError, RunError
from covidxr.models import training
from covidxr.models.architectures import build_network
from covidxr.models.checkpoints import Fitted, best_of_checkpoint
from covidxr.models.recipes import RECIPES, recipe
from covidxr.models.training import TrainingData, fit
from covidxr.records import CLASS_NAMES, Recipe


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """Phantoms of two easy classes, 100 px: 96 train, 32 val."""
    labels = np.arange(128) % 2
    pixels = np.stack(
        [
            render_phantom(CLASS_NAMES[3 * y], np.random.default_rng(i), 100)[0]
            for i, y in enumerate(labels)
        ]
    )
    return TrainingData(
        pixels, labels, np.arange(96), np.arange(96, 128), ("Normal", "Lung_Opacity")
    )


def small(**changes: object) -> Recipe:
    return recipe("poster-cnn").override(
        **{"image_size": 100, "epochs": 2, "batch_size": 16} | changes
    )


def run(chosen: Recipe, data: TrainingData, folder: Path) -> tuple[Fitted, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    fitted = fit(chosen, data, folder / "checkpoint", events.append)
    return fitted, [event for event in events if event["event"] == "epoch"]


def equal(a: Fitted, b: Fitted) -> bool:
    return a.weights.keys() == b.weights.keys() and all(
        torch.equal(a.weights[k], b.weights[k]) for k in a.weights
    )


EVERYTHING = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "schedule": "one-cycle",
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "class_balance": 0.5,
    "rotation_degrees": 5.0,
    "horizontal_flip": True,
    "contrast": 0.1,
}


def test_progress_is_reported_within_an_epoch(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_REPORT_SECONDS", 0.0)
    events: list[dict[str, Any]] = []
    fit(small(), data, tmp_path / "checkpoint", events.append)
    steps = [event for event in events if event["event"] == "steps"]
    assert [(event["epoch"], event["step"]) for event in steps] == [
        (epoch, step) for epoch in (1, 2) for step in range(1, 7)
    ]
    epochs = [event for event in events if event["event"] == "epoch"]
    for epoch in epochs:
        own = [event["train_loss"] for event in steps if event["epoch"] == epoch["epoch"]]
        assert np.mean(own) == pytest.approx(epoch["train_loss"])


def test_class_weights_of_the_recipe_apply_in_every_batch(
    data: TrainingData, tmp_path: Path
) -> None:
    """One batch of all images: the loss is the weighted sum over samples, by hand."""
    # 48 of one class, 16 of the other.
    rows = np.array([i for i in range(96) if i % 2 == 0 or i % 6 == 1])
    uneven = TrainingData(data.pixels, data.labels, rows, data.val_rows, data.class_names)
    _, events = run(small(epochs=1, batch_size=64, class_balance=1.0), uneven, tmp_path)
    torch.manual_seed(0)
    network = build_network("poster_cnn", 2, 100)
    grey = torch.from_numpy(data.pixels[rows]).float()[:, None] / 255
    x = (grey - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    y = torch.from_numpy(data.labels[rows])
    losses = torch.nn.functional.nll_loss(network(x), y, reduction="none")
    # Full balance: each class has half of the weight, which adds up to the 64 samples.
    expected = (losses[y == 0].mean() + losses[y == 1].mean()) / 2
    assert events[0]["train_loss"] == pytest.approx(float(expected.detach()), rel=5e-3)


def test_every_epoch_is_reported_and_the_best_is_kept(data: TrainingData, tmp_path: Path) -> None:
    fitted, events = run(small(epochs=3), data, tmp_path)
    assert [e["epoch"] for e in events] == [1, 2, 3]
    best = max(events, key=lambda e: e["val_macro_f1"])
    assert fitted.best_epoch == best["epoch"]
    assert fitted.best_macro_f1 == best["val_macro_f1"]
    assert all(e["images_per_second"] > 0 and 0 <= e["val_accuracy"] <= 1 for e in events)
    assert fitted.origin == "random weights"


def test_the_same_seed_gives_identical_weights(data: TrainingData, tmp_path: Path) -> None:
    one, _ = run(small(**EVERYTHING), data, tmp_path / "1")
    again, _ = run(small(**EVERYTHING), data, tmp_path / "2")
    other, _ = run(small(**EVERYTHING, seed=1), data, tmp_path / "3")
    assert equal(one, again)
    assert not equal(one, other)


@pytest.mark.parametrize(
    "changes", [{}, pytest.param(EVERYTHING, marks=pytest.mark.slow)], ids=["plain", "everything"]
)
def test_a_resumed_run_gives_the_same_result(
    data: TrainingData, tmp_path: Path, changes: dict[str, object]
) -> None:
    whole, whole_events = run(small(epochs=3, **changes), data, tmp_path / "whole")
    steps = iter(range(1000))
    with pytest.raises(Cancelled):  # 6 steps an epoch: stop in the middle of the second
        fit(
            small(epochs=3, **changes),
            data,
            tmp_path / "checkpoint",
            lambda e: None,
            lambda: next(steps) >= 8,
        )
    resumed, events = run(small(epochs=3, **changes), data, tmp_path)
    assert [e["epoch"] for e in events] == [2, 3]
    assert equal(whole, resumed)
    assert events[-1]["val_loss"] == whole_events[-1]["val_loss"]
    assert equal(best_of_checkpoint(tmp_path / "checkpoint"), whole)


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(path.read_bytes()[:999]), lambda path: path.unlink()]
)
def test_a_damaged_checkpoint_falls_back_to_the_previous_one(
    data: TrainingData, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    whole, _ = run(small(epochs=3), data, tmp_path / "whole")
    run(small(epochs=2), data, tmp_path)
    damage(tmp_path / "checkpoint")
    resumed, events = run(small(epochs=3), data, tmp_path)
    assert [e["epoch"] for e in events] == [2, 3]
    assert equal(whole, resumed)


@pytest.mark.slow
def test_training_reduces_the_loss(data: TrainingData, tmp_path: Path) -> None:
    chosen = small(optimizer="adam", learning_rate=3e-3).override(epochs=25, patience=25)
    _, events = run(chosen, data, tmp_path)
    assert events[-1]["train_loss"] < 0.6 * events[0]["train_loss"]
    assert max(e["val_accuracy"] for e in events) >= 0.8


def test_training_stops_without_improvement(data: TrainingData, tmp_path: Path) -> None:
    stuck = small(learning_rate=1e-9, patience=2).override(epochs=10)
    fitted, events = run(stuck, data, tmp_path)
    assert fitted.best_epoch == 1
    assert len(events) == 3


@pytest.mark.slow
def test_frozen_stages_keep_weights_and_statistics(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiny = TrainingData(
        rng.integers(0, 256, (24, 32, 32)).astype(np.uint8),
        np.arange(24) % 2,
        np.arange(16),
        np.arange(16, 24),
        ("a", "b"),
    )
    chosen = recipe("poster-resnet18-scratch").override(
        image_size=32, epochs=1, batch_size=8, frozen_stages=2, learning_rate=1e-2
    )
    torch.manual_seed(chosen.seed)
    start = build_network("resnet18", 2, 32).state_dict()
    fitted, _ = run(chosen, tiny, tmp_path)
    for key, value in fitted.weights.items():
        same = torch.equal(value, start[key])
        assert same == key.startswith(("conv1", "bn1", "layer1")), key


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_the_first_step_equals_a_plain_optimizer_step(
    data: TrainingData, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, since Adam's first step is little more than a sign."""
    monkeypatch.setattr(training, "has_fast_bfloat16", lambda: False)
    chosen = small(optimizer=kind, learning_rate=1e-2, weight_decay=0.1).override(
        epochs=1, batch_size=96
    )
    fitted, _ = run(chosen, data, tmp_path)
    torch.manual_seed(chosen.seed)
    network = build_network("poster_cnn", 2, 100)
    matrices, vectors = (
        [p for p in network.parameters() if p.ndim > 1],
        [p for p in network.parameters() if p.ndim == 1],
    )
    optimizer: torch.optim.Optimizer
    if kind == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.9, weight_decay=0.1)
    elif kind == "adam":
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=0.1)
    else:
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}],
            lr=1e-2,
        )
    grey = torch.from_numpy(data.pixels[:96]).float()[:, None] / 255
    x = (grey - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.nn.functional.nll_loss(network(x), torch.from_numpy(data.labels[:96])).backward()
    optimizer.step()
    for key, value in network.state_dict().items():
        assert torch.allclose(value, fitted.weights[key], atol=2e-4), key


def test_invalid_settings_and_checkpoints_are_rejected(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"batch_size \(128\) must be <= the number of training images \(96\)"
    ):
        run(small().override(batch_size=128), data, tmp_path)
    with pytest.raises(ConfigError, match="frozen_stages must be <= 0 for poster_cnn, got 1"):
        run(small(frozen_stages=1), data, tmp_path)
    with pytest.raises(RunError, match="has no checkpoint"):
        best_of_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "checkpoint").write_bytes(b"half a file")
    with pytest.raises(RunError, match="cannot be read"):
        best_of_checkpoint(tmp_path / "checkpoint")


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
