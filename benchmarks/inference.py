"""Images/s of predicting a folder with decoding, compared with the network alone on tensors.

Both use float32 and batches of 64. They take turns for several rounds, and the best round counts,
since other work slows single rounds.

    python benchmarks/inference.py --data COVID-19_Radiography_Dataset
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import torch

from covidxr.models.classifier import Classifier
from covidxr.prediction.loading import load_classifier
from covidxr.prediction.worklist import ImageFile, list_images, predict_images

BATCH = 64


def bare(model: Classifier, n: int) -> float:
    """Return the seconds of the network for n images, in channels-last format as in training."""
    size = model.card.preprocessing.image_size
    x = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    started = time.perf_counter()
    with torch.inference_mode():
        for _ in range(n // BATCH):
            model.network(x)
    return time.perf_counter() - started


def worklist(model: Classifier, images: list[ImageFile]) -> float:
    started = time.perf_counter()
    rows = list(predict_images(model, images))
    seconds = time.perf_counter() - started
    if any(row.error for row in rows):
        raise SystemExit(f"{sum(bool(row.error) for row in rows)} images cannot be read")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder or zip of images")
    parser.add_argument("--model", default="poster-resnet18-pretrained")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = load_classifier(arguments.model)
    with ExitStack() as stack:
        found = list(islice(list_images([arguments.data], stack), arguments.images))
        images = found[: len(found) // BATCH * BATCH]
        bare(model, BATCH)
        seconds = [
            (worklist(model, images), bare(model, len(images))) for _ in range(arguments.rounds)
        ]
    ours, theirs = (len(images) / min(column) for column in zip(*seconds, strict=True))
    result = {
        "model": arguments.model,
        "images": len(images),
        "rounds": arguments.rounds,
        "threads": torch.get_num_threads(),
    }
    print(
        json.dumps(
            result
            | {
                "images_per_second": {"worklist": ours, "bare network": theirs},
                "ratio": ours / theirs,
            }
        )
    )


if __name__ == "__main__":
    main()
