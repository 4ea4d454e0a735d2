"""Draw the lung outlines found in classes without masks; the radiographs may not be published.

Run: python tools/contact_sheet.py COVID-19_Radiography_Dataset
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from covidxr.datasets.opening import open_dataset
from covidxr.figures import lung_outline
from covidxr.lungs.inputs import lung_masks
from covidxr.prediction.loading import load_segmenter

CLASSES = ("COVID", "Viral Pneumonia")
IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
COLUMNS, EDGE, GAP, HEAD = 12, 96, 6, 26


def row(masks: np.ndarray, title: str) -> Image.Image:
    """Lay outlines side by side under a title, as many rows as they need."""
    rows = -(-len(masks) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (EDGE + GAP) - GAP, HEAD + rows * (EDGE + GAP)), "#0B0D0F")
    ImageDraw.Draw(sheet).text((0, 4), title, "#E6E8EA", ImageFont.load_default(14))
    for i, mask in enumerate(masks):
        drawn = lung_outline(np.full((EDGE, EDGE), 28, dtype=np.uint8), mask)
        sheet.paste(
            Image.fromarray(drawn), (i % COLUMNS * (EDGE + GAP), HEAD + i // COLUMNS * (EDGE + GAP))
        )
    return sheet


def main(data: str) -> None:
    """Write docs/images/lungs.png: of each class 24 random images and the 12 smallest lungs."""
    dataset = open_dataset(data)
    segmenter, rows = load_segmenter(), []
    for name in CLASSES:
        files = [s.file for s in dataset.samples if s.label == dataset.class_names.index(name)]
        masks = lung_masks(dataset, files, segmenter)
        chosen = np.random.default_rng(0).choice(len(files), 24, replace=False)
        smallest = masks.mean(axis=(1, 2)).argsort()[:12]
        rows += [
            row(masks[chosen], f"{name}: 24 at random"),
            row(masks[smallest], f"{name}: the 12 with the smallest lungs"),
        ]
    sheet = Image.new("RGB", (rows[0].width, sum(r.height for r in rows)), "#0B0D0F")
    top = 0
    for part in rows:
        sheet.paste(part, (0, top))
        top += part.height
    sheet.save(IMAGES / "lungs.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
