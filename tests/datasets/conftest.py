"""A small dataset in the layout of the database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidxr.records import CLASS_NAMES


@pytest.fixture
def database_like(tmp_path: Path) -> Path:
    """Twelve images in the database's layout: three per class, some RGB or JPEG, and a mask."""
    root = tmp_path / "COVID-19_Radiography_Dataset"
    rng = np.random.default_rng(0)
    for name in CLASS_NAMES:
        folder = root / name / "images"
        folder.mkdir(parents=True)
        for n in (1, 2, 10):
            image = Image.fromarray(rng.integers(0, 256, (48, 48)).astype(np.uint8))
            if n == 2:
                image = image.convert("RGB")
            image.save(folder / (f"{name}-{n}.png" if n < 10 else f"{name}-{n}.JPG"))
    (root / "COVID" / "masks").mkdir()
    Image.new("L", (48, 48)).save(root / "COVID" / "masks" / "COVID-1.png")
    (root / "README.md.txt").write_text("as downloaded")
    return root
