"""Images a second of our training loop, beside a plain torchvision loop and the bare network, in one run.

Peer: float32 ImageFolder + DataLoader (2 workers), the same network, batch and augmentation, image by image.
Bare: forward + backward + step on one tensor that is ready, at our precision and memory format.

    python benchmarks/training.py --data COVID-19_Radiography_Dataset
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from covidxr import workflows
from covidxr.data.dataset import open_dataset
from covidxr.data.pixels import decode
from covidxr.models.recipes import recipe
from covidxr.models.training import TrainingData, fit, has_fast_bfloat16

RECIPE = recipe("poster-resnet18-scratch").override(epochs=1)
ROUNDS = 3


def ours(data: TrainingData, folder: Path) -> float:
    events: list[dict[str, Any]] = []
    fit(RECIPE, data, folder / f"checkpoint-{time.monotonic_ns()}", events.append)
    return float(events[0]["images_per_second"])


def peer(folder: Path) -> float:
    change = v2.Compose(
        [
            v2.Resize((RECIPE.image_size, RECIPE.image_size)),
            v2.RandomRotation(RECIPE.augmentation.rotation_degrees),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    loader = DataLoader(ImageFolder(str(folder), change), RECIPE.batch_size, shuffle=True, num_workers=2, drop_last=True)
    network = resnet18(num_classes=4).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RECIPE.learning_rate)
    started = time.monotonic()
    for x, y in loader:
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return len(loader) * RECIPE.batch_size / (time.monotonic() - started)


def bare(steps: int) -> float:
    network = resnet18(num_classes=4).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RECIPE.learning_rate)
    x = torch.randn(RECIPE.batch_size, 3, RECIPE.image_size, RECIPE.image_size).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 4, (RECIPE.batch_size,))
    started = time.monotonic()
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            logits = network(x)
        loss = nn.functional.cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return steps * RECIPE.batch_size / (time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the database; without it, phantoms")
    parser.add_argument("--images", type=int, default=1600, help="images a round")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data or workflows.default_dataset())
    pixels = decode(dataset, RECIPE.image_size)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(pixels.files), min(arguments.images, len(pixels.files)), replace=False)
    labels = np.array([s.label for s in dataset.samples], dtype=np.int64)
    data = TrainingData(pixels.array, labels, rows, rows[:8], dataset.class_names)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "imagefolder"
        for row in rows:
            file = Path(pixels.files[row])
            target = folder / dataset.class_names[labels[row]] / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if dataset.path.is_dir():
                shutil.copy(dataset.path / dataset.prefix / file, target)
            else:
                target.write_bytes(dataset.read(str(file)))
        speeds: dict[str, list[float]] = {"ours": [], "peer": [], "bare": []}
        for _ in range(ROUNDS):  # taking turns, so that a slow minute of the machine hits all three
            speeds["ours"].append(ours(data, Path(scratch)))
            speeds["peer"].append(peer(folder))
            speeds["bare"].append(bare(len(rows) // RECIPE.batch_size))
    median = {name: statistics.median(values) for name, values in speeds.items()}
    print(
        json.dumps(
            {
                "benchmark": "training, resnet18, 128 px, batch 64, rotation and flip",
                "images_per_second": {name: round(value, 1) for name, value in median.items()},
                "ours_to_peer": round(median["ours"] / median["peer"], 2),
                "ours_to_bare": round(median["ours"] / median["bare"], 2),
                "rounds": ROUNDS,
                "bfloat16": has_fast_bfloat16(),
                "cores": torch.get_num_threads(),
                "torch": torch.__version__,
                "cpu": torch.backends.cpu.get_cpu_capability(),
            }
        )
    )


if __name__ == "__main__":
    main()
