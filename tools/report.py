"""Render docs/images/report.png, the report of a phantom: `python tools/report.py`."""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2
from PIL import Image

from covidxr.prediction.cases import sample_phantom
from covidxr.prediction.loading import find_segmenter, load_classifier
from covidxr.prediction.report import report_file

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        image, out = Path(folder) / "phantom.png", Path(folder) / "report.pdf"
        # A phantom that the input check accepts.
        Image.fromarray(sample_phantom("COVID", seed=9)).save(image)
        date = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
        report_file(
            load_classifier("poster-resnet18-pretrained"),
            image,
            find_segmenter(),
            out,
            "Synthetic phantom, not a radiograph: the prediction is meaningless.",
            date,
        )
        with pypdfium2.PdfDocument(io.BytesIO(out.read_bytes())) as document:
            print(len(document), "page,", out.stat().st_size, "bytes")
            document[0].render(scale=150 / 72).to_pil().save(IMAGES / "report.png")
