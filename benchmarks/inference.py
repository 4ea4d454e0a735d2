"""Images a second of scoring a folder of pictures, decoding and all, beside the bare network on tensors that lie in memory.

Both in float32 and in batches of 64. Each is measured in turn, several times, and the best counts: other work slows single rounds.

    python benchmarks/inference.py --data COVID-19_Radiography_Dataset --model poster-resnet18-pretrained
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
from covidxr.prediction.worklist import Picture, list_pictures, score_pictures

BATCH = 64


def bare(model: Classifier, n: int) -> float:
    """Seconds that the network takes for n pictures of its size, channels last as in training."""
    size = model.card.preprocessing.image_size
    x = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    started = time.perf_counter()
    with torch.inference_mode():
        for _ in range(n // BATCH):
            model.network(x)
    return time.perf_counter() - started


def worklist(model: Classifier, pictures: list[Picture]) -> float:
    started = time.perf_counter()
    rows = list(score_pictures(model, pictures))
    seconds = time.perf_counter() - started
    if any(row.error for row in rows):
        raise SystemExit(f"{sum(bool(row.error) for row in rows)} pictures cannot be read")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder or a zip of pictures")
    parser.add_argument("--model", default="poster-resnet18-pretrained")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = load_classifier(arguments.model)
    with ExitStack() as stack:
        found = list(islice(list_pictures([arguments.data], stack), arguments.pictures))
        pictures = found[: len(found) // BATCH * BATCH]
        bare(model, BATCH)
        seconds = [
            (worklist(model, pictures), bare(model, len(pictures))) for _ in range(arguments.rounds)
        ]
    ours, theirs = (len(pictures) / min(column) for column in zip(*seconds, strict=True))
    result = {
        "model": arguments.model,
        "pictures": len(pictures),
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
