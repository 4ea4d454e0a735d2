"""Write covidxr/models/manifest.json: sizes and sha256 of the committed models.

Run `make manifest` after any change in weights/. Models are bundled in the wheel in the order
below while they fit the budget.
"""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from pathlib import Path

from covidxr.models.fetch import MANIFEST, Manifest, ReleasedFile, ReleasedModel
from covidxr.models.recipes import RECIPES
from covidxr.models.store import LUNGS, read_card
from covidxr.storage import to_json, write_text

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
FIRST = ("covidxr-resnet18", LUNGS, "covidxr-resnet18-lungs", "poster-resnet18-pretrained")
BUDGET = 95_000_000
"""Compressed bytes of models: the wheel must stay below 100 MB, and its code takes about 2 MB."""


def committed_files(model_id: str) -> list[Path]:
    """Return the committed files of a model, without what evaluations stored beside them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", f"weights/{model_id}"],
        cwd=WEIGHTS.parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [WEIGHTS.parent / name for name in sorted(listed.split("\0")) if name]


def manifest() -> Manifest:
    """Measure the committed models."""
    models, used = [], 0
    for model_id in dict.fromkeys((*FIRST, *RECIPES)):
        contents = {path.name: path.read_bytes() for path in committed_files(model_id)}
        packed = sum(len(zlib.compress(content)) for content in contents.values())
        bundled = used + packed <= BUDGET
        used += packed if bundled else 0
        lungs_only = (
            model_id != LUNGS and read_card(WEIGHTS / model_id).preprocessing.segmenter_sha256
        )
        files = tuple(
            ReleasedFile(name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        )
        models.append(ReleasedModel(model_id, bundled, (LUNGS,) if lungs_only else (), files))
    return Manifest(1, tuple(models))


if __name__ == "__main__":
    found = manifest()
    write_text(MANIFEST, to_json(found))
    for model in found.models:
        print(f"{model.model_id}: {model.size:,} bytes{'' if model.bundled else ', not bundled'}")
