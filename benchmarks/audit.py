"""Images/s of an audit without cache, compared with ImageHash and with Pillow on the same files.

The audit decodes, measures, finds near-duplicates, splits and checks, on all cores. ImageHash:
phash of each file on as many threads, then the Hamming distance of all pairs; it finds
near-duplicates only. Pillow only decodes. Minutes are for the 21,165 images of the original
database; the number of pairs grows with the square.

    pip install ImageHash
    python benchmarks/audit.py [DATASET]

The default is 800 phantoms of 299 x 299 pixels, the size of the original images. Phantoms are far
more similar than patients, which slows the search for near-duplicates: use a real dataset.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from covidxr.datasets.audit.dataset_audit import audit_dataset
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.phantoms import write_phantoms
from covidxr.records import SplitPlan

WHOLE = 21_165


def read_all(dataset: Dataset, use: object) -> tuple[list[object], float]:
    """Return `use` of every opened image, on all cores, and the seconds."""

    def one(file: str) -> object:
        with Image.open(dataset.path / dataset.prefix / file) as image:
            return use(image)  # type: ignore[operator]

    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(one, [sample.file for sample in dataset.samples]))
    return results, time.perf_counter() - started


def compare_all(hashes: np.ndarray, most: int = 6) -> int:
    """Return the number of pairs of 64-bit hashes that differ in at most `most` bits."""
    found = 0
    for row in range(len(hashes) - 1):
        found += int((np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= most).sum())
    return found


def main() -> None:
    """Print one JSON object."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["COVIDXR_CACHE"] = str(Path(scratch) / "cache")
        folder = (
            Path(sys.argv[1])
            if len(sys.argv) > 1
            else write_phantoms(Path(scratch) / "phantoms", per_class=200, size=299)
        )
        dataset = open_dataset(folder)
        n = len(dataset.samples)
        # First, so that the files are in memory for the others.
        _, decoding = read_all(dataset, lambda image: image.load() and None)

        started = time.perf_counter()
        audited = audit_dataset(open_dataset(folder), SplitPlan())
        ours = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        audit_dataset(open_dataset(folder), SplitPlan())
        again = time.perf_counter() - started

        hashes, hashing = read_all(
            dataset, lambda image: np.packbits(imagehash.phash(image).hash).view(np.uint64)[0]
        )
        started = time.perf_counter()
        pairs = compare_all(np.array(hashes))
        comparing = time.perf_counter() - started

    factor = WHOLE / n
    result = {
        "images": n,
        "images_per_second": {
            "ours": n / ours,
            "ImageHash": n / (hashing + comparing),
            "Pillow decoding": n / decoding,
        },
        "minutes_for_21165": {
            "ours": ours * factor / 60,
            "ImageHash": (hashing * factor + comparing * factor**2) / 60,
            "Pillow decoding": decoding * factor / 60,
        },
        "seconds_when_cached": again,
        "peak_mb": memory,
        "near_duplicates": {
            "our groups": len(audited.found("near-duplicates").groups),
            "ImageHash pairs": pairs,
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
