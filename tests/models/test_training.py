from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from covidxr.errors import Cancelled, ConfigError, RunError
from covidxr.models import training
from covidxr.models.architectures import build_network
from covidxr.models.checkpoints import Fitted, best_of_checkpoint
from covidxr.models.recipes import recipe
from covidxr.models.training import TrainingData, fit
from covidxr.records import Recipe


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
    gray = torch.from_numpy(data.pixels[rows]).float()[:, None] / 255
    x = (gray - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
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
