"""Out-of-distribution images, from installed libraries or drawn: what a detector must reject."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from covidxr.datasets.phantoms import render_phantom
from covidxr.records import CLASS_NAMES, GrayImage

_DICOM = (
    "693_J2KI", "CT_small", "GDCMJ2K_TextGBR", "J2K_pixelrep_mismatch", "JPEG2000", "MR_small",
    "SC_rgb_rle", "examples_jpeg2k", "examples_overlay", "examples_palette", "examples_rgb_color",
    "examples_ybr_color", "image_dfl", "liver_1frame", "rtdose_1frame",
)  # fmt: skip
"""Test files of pydicom that need no other decoder than its own and Pillow; without copies."""
PHANTOM = "phantom"
_EACH = 8
"""Images of each type that is drawn here."""


def ood_examples() -> Iterator[tuple[str, GrayImage]]:
    """Yield images that are no chest radiographs, always the same: (type, (H, W) uint8).

    Photographs, slices, digits, phantoms, noise, screenshots and hands. They are in the wheels of
    scikit-image, scikit-learn and pydicom, or drawn; nothing is downloaded.
    """
    yield from _photographs()
    yield from _slices()
    yield from _digits()
    for i in range(_EACH):
        class_name = CLASS_NAMES[i % len(CLASS_NAMES)]
        yield PHANTOM, render_phantom(class_name, np.random.default_rng(i))[0]
    for draw in (_white_noise, _cloud, _gradient, _screenshot, _hand):
        for seed in range(_EACH):
            yield draw.__name__.strip("_").replace("_", " "), draw(np.random.default_rng(seed))


def _photographs() -> Iterator[tuple[str, GrayImage]]:
    import skimage.data
    from sklearn.datasets import load_sample_images

    for file in sorted(Path(skimage.data.__file__).parent.iterdir()):
        # In gray, chessboard_RGB equals another file.
        if file.suffix in (".png", ".jpg", ".gif") and file.stem != "chessboard_RGB":
            with Image.open(file) as photograph:
                yield "photograph", np.asarray(photograph.convert("L"))
    for rgb in load_sample_images().images:
        yield "photograph", np.asarray(Image.fromarray(rgb).convert("L"))


def _slices() -> Iterator[tuple[str, GrayImage]]:
    import pydicom
    from pydicom.data import get_testdata_file

    for name in _DICOM:
        path = get_testdata_file(f"{name}.dcm", download=False)
        if path is None:
            continue
        values = np.asarray(pydicom.dcmread(path).pixel_array, dtype=np.float64)
        values = values.mean(axis=-1) if values.shape[-1] == 3 else values
        values = values[0] if values.ndim == 3 else values
        low, high = np.percentile(values, (1, 99))
        scaled = (values - low) / max(high - low, 1e-9) * 255
        yield "slice", np.clip(scaled, 0, 255).astype(np.uint8)


def _digits() -> Iterator[tuple[str, GrayImage]]:
    from sklearn.datasets import load_digits

    for values in load_digits().images[:_EACH]:
        digit = Image.fromarray((values * 15.9).astype(np.uint8))
        yield "digit", np.asarray(digit.resize((256, 256), Image.Resampling.BICUBIC))


def _white_noise(random: np.random.Generator) -> GrayImage:
    return random.integers(0, 256, (256, 256), dtype=np.uint8)


def _cloud(random: np.random.Generator) -> GrayImage:
    coarse = random.integers(0, 256, (int(random.integers(3, 24)),) * 2, dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC))


def _gradient(random: np.random.Generator) -> GrayImage:
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    angle = random.uniform(0, 2 * np.pi)
    return np.asarray((x * np.cos(angle) + y * np.sin(angle)) * 90 + 128, dtype=np.uint8)


def _screenshot(random: np.random.Generator) -> GrayImage:
    """Draw a window with a title bar, boxes and lines of text."""
    window = Image.new("L", (400, 300), int(random.integers(200, 256)))
    pen = ImageDraw.Draw(window)
    pen.rectangle((0, 0, 400, 24), fill=int(random.integers(30, 120)))
    for _ in range(6):
        x, y = (int(v) for v in random.integers((0, 30), (300, 240)))
        pen.rectangle((x, y, x + 90, y + 40), outline=40, fill=int(random.integers(120, 250)))
    for line in range(12):
        words = "".join(chr(c) for c in random.integers(97, 123, 40))
        pen.text((12, 34 + 21 * line), words, fill=20)
    return np.asarray(window)


def _hand(random: np.random.Generator) -> GrayImage:
    """Draw a radiograph of a hand: bright bones in gray soft tissue on black, blurred."""
    flesh, bone = Image.new("L", (320, 400), 0), Image.new("L", (320, 400), 0)
    angles = np.radians([-62, -20, -5, 9, 24]) + random.uniform(-0.06, 0.06, 5)
    for finger, angle in enumerate(angles):
        along = np.array([np.sin(angle), -np.cos(angle)])
        joint = np.array([150.0, 330.0]) + along * (60 if finger == 0 else 20)
        for length in np.array([95, 62, 40, 26][finger == 0 :]) * random.uniform(0.9, 1.1):
            tip = joint + along * length
            ends = [*(joint + along * 4), *(tip - along * 4)]
            ImageDraw.Draw(flesh).line(ends, fill=70, width=42)
            ImageDraw.Draw(bone).line(ends, fill=int(random.integers(120, 170)), width=14)
            ImageDraw.Draw(bone).ellipse((*(tip - 10), *(tip + 10)), fill=150)
            joint = tip
    ImageDraw.Draw(flesh).ellipse((85, 220, 225, 400), fill=80)
    blur = ImageFilter.GaussianBlur(3)
    parts = [np.asarray(part.filter(blur), dtype=np.float64) for part in (flesh, bone)]
    noisy = parts[0] + parts[1] + random.normal(0, 3, parts[0].shape)
    return np.asarray(noisy.clip(0, 255), dtype=np.uint8)
