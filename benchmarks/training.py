"""Images/s of the training loop, compared with a plain torchvision loop and the network alone.

Peer: float32 with ImageFolder and DataLoader (2 workers), same network, batch and augmentation.
Bare: forward, backward and step on one tensor, in the same precision and memory format.
Decoding: filling the cache, compared with Pillow opening and resizing, one process per core.
First batch: from the start of a run, with images decoded, to the end of its first step.

    python benchmarks/training.py --data COVID-19_Radiography_Dataset
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.phantoms import default_dataset
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import split_data
from covidxr.models.recipes import recipe
from covidxr.models.training import TrainingData, fit, has_fast_bfloat16
from covidxr.records import SplitPlan
from covidxr.runs.export import train_arguments
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.train import train

RECIPE = recipe("poster-resnet18-scratch").override(epochs=1)
ROUNDS = 3


def ours(data: TrainingData, folder: Path) -> float:
    events: list[dict[str, Any]] = []
    fit(RECIPE, data, folder / f"checkpoint-{time.monotonic_ns()}", events.append)
    return float(events[-1]["images_per_second"])


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
    loader = DataLoader(
        ImageFolder(str(folder), change),
        RECIPE.batch_size,
        shuffle=True,
        num_workers=2,
        drop_last=True,
    )
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
    x = torch.randn(RECIPE.batch_size, 3, RECIPE.image_size, RECIPE.image_size).contiguous(
        memory_format=torch.channels_last
    )
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


def open_and_resize(file: Path) -> bytes:
    with Image.open(file) as image:
        return (
            image.convert("L")
            .resize((RECIPE.image_size, RECIPE.image_size), Image.Resampling.BICUBIC)
            .tobytes()
        )


def decode_speeds(folder: Path) -> tuple[float, float]:
    """Return the images/s of the cache and of Pillow, on a folder in the layout of the database."""
    files = sorted(folder.glob("*/images/*"))
    with tempfile.TemporaryDirectory() as cache:
        before, os.environ["COVIDXR_CACHE"] = os.environ.get("COVIDXR_CACHE"), cache
        dataset = open_dataset(folder)
        started = time.monotonic()
        decode(dataset, RECIPE.image_size)
        ours = time.monotonic() - started
        del os.environ["COVIDXR_CACHE"]
        os.environ |= {"COVIDXR_CACHE": before} if before else {}
    with multiprocessing.Pool() as pool:
        # Starts the workers.
        pool.map(open_and_resize, files[:8])
        started = time.monotonic()
        pool.map(open_and_resize, files, chunksize=16)
        bare = time.monotonic() - started
    return len(files) / ours, len(files) / bare


def first_batch_seconds(data: Path, new_process: bool) -> float:
    """Return the seconds until a run reports its first step; then it is cancelled."""
    with tempfile.TemporaryDirectory() as scratch:
        run = RunFolder(Path(scratch) / "run")
        config = RunConfig(RECIPE, SplitPlan(), str(data))
        started = time.monotonic()
        seconds: list[float] = []

        def watch() -> None:
            while not any(event["event"] == "steps" for event in run.events()):
                time.sleep(0.02)
            seconds.append(time.monotonic() - started)
            run.cancel.touch()

        watcher = threading.Thread(target=watch)
        watcher.start()
        if new_process:
            arguments = [*train_arguments(config, run.path), "--at-once"]
            subprocess.run(
                [sys.executable, "-m", "covidxr", *arguments], check=True, capture_output=True
            )
        else:
            train(config, run.path, at_once=True)
        watcher.join()
    return seconds[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the database (default: phantoms)")
    parser.add_argument("--images", type=int, default=1600, help="images per round")
    arguments = parser.parse_args()
    place = (arguments.data or default_dataset()).resolve()
    dataset = open_dataset(place)
    pixels = decode(dataset, RECIPE.image_size)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(pixels.files), min(arguments.images, len(pixels.files)), replace=False)
    labels = np.array([s.label for s in dataset.samples], dtype=np.int64)
    data = TrainingData(pixels.array, labels, rows, rows[:8], dataset.class_names)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "imagefolder"
        for row in rows:
            file = Path(pixels.files[row])
            target = folder / dataset.class_names[labels[row]] / "images" / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if dataset.path.is_dir():
                shutil.copy(dataset.path / dataset.prefix / file, target)
            else:
                target.write_bytes(dataset.read(str(file)))
        speeds: dict[str, list[float]] = {
            "ours": [],
            "peer": [],
            "bare": [],
            "decoding": [],
            "Pillow": [],
        }
        # In turns, so that a busy machine slows all of them.
        for _ in range(ROUNDS):
            speeds["ours"].append(ours(data, Path(scratch)))
            speeds["peer"].append(peer(folder))
            speeds["bare"].append(bare(len(rows) // RECIPE.batch_size))
            for name, speed in zip(("decoding", "Pillow"), decode_speeds(folder), strict=True):
                speeds[name].append(speed)
    # Fills the cache with near-duplicates and thumbnails.
    split_data(open_dataset(place), SplitPlan())
    first = {
        "libraries loaded": first_batch_seconds(place, False),
        "from a new process": first_batch_seconds(place, True),
    }
    median = {name: statistics.median(values) for name, values in speeds.items()}
    print(
        json.dumps(
            {
                "benchmark": "training, resnet18, 128 px, batch 64, rotation and flip",
                "images_per_second": {name: round(value, 1) for name, value in median.items()},
                "ours_to_peer": round(median["ours"] / median["peer"], 2),
                "ours_to_bare": round(median["ours"] / median["bare"], 2),
                "decoding_to_pillow": round(median["decoding"] / median["Pillow"], 2),
                "first_batch_seconds": {name: round(value, 1) for name, value in first.items()},
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
