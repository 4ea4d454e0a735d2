"""Synthetic chest radiographs (phantoms) for tests and tutorials, in the database's layout.

Coordinates: x from -1 (left in the image, the patient's right) to 1, y from -1 (top) to 1.
Structures add or subtract attenuation; the exposure then maps attenuation to gray values. Anatomy
and exposure do not depend on the class, so phantoms have no shortcuts outside the lungs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

import covidxr
from covidxr import __version__
from covidxr.config import cache_folder
from covidxr.errors import ConfigError, DatasetError
from covidxr.records import CLASS_NAMES, GrayImage
from covidxr.storage import new_folder

MARKER = "SYNTHETIC.txt"
"""File at the top of a dataset that marks its images as phantoms."""

Field = npt.NDArray[np.floating[Any]]
"""(S, S) float32 values over the image, or (1, S) and (S, 1) that broadcast to it."""


def render_phantom(
    class_name: str, rng: np.random.Generator, size: int = 256
) -> tuple[GrayImage, GrayImage]:
    """Draw one phantom.

    Args:
        class_name: One of `CLASS_NAMES`.
        rng: In one state it gives the same patient and exposure for every class: only the
            opacities differ.
        size: Edge in pixels, 64..1024.

    Returns:
        The image (size, size) in 0..255, and its lung mask (size, size), 0 or 255.

    Raises:
        ConfigError: For an unknown class or a size out of range.
    """
    body, exposure, disease = (np.random.default_rng(s) for s in rng.integers(0, 2**63, size=3))
    return _render(class_name, body, exposure, disease, size)


def write_phantoms(folder: Path, per_class: int = 40, size: int = 256, seed: int = 0) -> Path:
    """Write a dataset of phantoms and return its folder, which is written atomically.

    Every fourth image of a class is a second radiograph of the patient before it. Image i of a
    class depends on (seed, class, i) alone, so a larger dataset begins with the smaller one.

    Args:
        folder: New or empty.
        per_class: Number of images per class, 4 or more.
        size: Edge in pixels, 64..1024.
        seed: 0 or more.

    Raises:
        ConfigError: For a value out of range.
        DatasetError: When the folder is not empty.
    """
    for name, value, least in (("per_class", per_class, 4), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"{name} must be {least} or more, got {value}")
    _check_size(size)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(
            f"cannot write phantoms to {folder}: it exists and is not an empty folder; name a new "
            "folder"
        )
    with new_folder(folder.resolve()) as new:
        rows = ["file,source,patient_id"]
        for label, name in enumerate(CLASS_NAMES):
            for kind in ("images", "masks"):
                (new / name / kind).mkdir(parents=True)
            for i in range(1, per_class + 1):
                patient = i - i // 4  # 1 2 3 3 4 5 6 6 ...
                body = np.random.default_rng([seed, label, patient, 0])
                exposure = np.random.default_rng([seed, label, i, 1])
                disease = np.random.default_rng([seed, label, i, 2])
                image, mask = _render(name, body, exposure, disease, size)
                file = f"{name}/images/{name}-{i}.png"
                Image.fromarray(image).save(new / file)
                Image.fromarray(mask).save(new / name / "masks" / f"{name}-{i}.png")
                rows.append(f"{file},phantom,phantom-{label}-{patient}")
        (new / "sources.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        (new / MARKER).write_text(
            f"synthetic phantoms, not radiographs (covidxr {__version__}, seed {seed})\n",
            encoding="utf-8",
        )
    return folder


def _check_size(size: int) -> None:
    if not 64 <= size <= 1024:
        raise ConfigError(f"size must be between 64 and 1024 pixels, got {size}")


def _render(
    class_name: str,
    body: np.random.Generator,
    exposure: np.random.Generator,
    disease: np.random.Generator,
    size: int,
) -> tuple[GrayImage, GrayImage]:
    """Draw a patient with opacities; `exposure` draws pose, inspiration, blur, noise and tone."""
    if class_name not in CLASS_NAMES:
        raise ConfigError(f"class must be one of {', '.join(CLASS_NAMES)}, got {class_name!r}")
    _check_size(size)
    # Inspiration differs between images of one patient.
    dome = body.uniform(0.48, 0.60) + exposure.uniform(-0.05, 0.04)
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - 1
    x, y = axis[None, :], axis[:, None]
    attenuation, depth = _thorax(body, dome, x, y)
    # Opacities end where the lung ends.
    attenuation += _opacity(class_name, disease, dome, x, y) * np.clip(depth / 0.02, 0, 1)
    # Patients are seldom positioned straight: rotate, zoom and shift about the center. The margin
    # avoids black corners.
    angle, zoom, margin = exposure.normal(0, 0.035), exposure.uniform(0.95, 1.08), size // 8
    cos, sin, half = np.cos(angle) / zoom, np.sin(angle) / zoom, size / 2
    right, lower = margin + half + exposure.uniform(-0.025, 0.025, size=2) * size
    matrix = (cos, sin, right - (cos + sin) * half, -sin, cos, lower - (cos - sin) * half)
    affine = Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    padded = (Image.fromarray(np.pad(f, margin, mode="edge")) for f in (attenuation, depth))
    attenuation, depth = (np.asarray(image.transform((size, size), *affine)) for image in padded)
    attenuation = _blur(attenuation, exposure.uniform(0.001, 0.0035) * size)
    noise = exposure.uniform(0.008, 0.025)
    attenuation += noise * exposure.standard_normal((size, size), dtype=np.float32)
    # Exposure varies more than disease does, so that mean brightness does not predict the class.
    black, white = exposure.uniform(-0.02, 0.10), exposure.uniform(0.92, 1.12)
    gamma = exposure.uniform(0.75, 1.35)
    gray = np.clip((attenuation - black) / (white - black), 0, 1) ** np.float32(gamma)
    mask = Image.fromarray(np.where(depth > 0, 255, 0).astype(np.uint8))
    # The median removes single pixels that touch a sharp corner of a lung diagonally.
    mask = mask.filter(ImageFilter.MedianFilter(3))
    return np.rint(gray * 255).astype(np.uint8), np.array(mask)


def _ramp(distance: Field, width: float) -> Field:
    """Return 0 outside and 1 inside, smooth over `width` about distance 0."""
    t: Field = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def _radius(across: Field, down: Field) -> Field:
    """Return the distance from the center of an ellipse in units of its axes, without np.hypot."""
    return np.asarray(np.sqrt(across * across + down * down))


def _bell(offset: Field) -> Field:
    return np.asarray(np.exp(-offset * offset))


def _blur(field: Field, sigma: float) -> Field:
    """Return a field (S, S) under a Gaussian blur of `sigma` pixels."""
    reach = int(3 * sigma) + 1
    weights = _bell(np.arange(-reach, reach + 1, dtype=np.float32) / np.float32(sigma * 2**0.5))
    weights /= weights.sum()
    # Rows, then columns.
    for _ in range(2):
        padded = np.pad(field, ((reach, reach), (0, 0)), mode="edge")
        field = weights[0] * padded[: len(field)]
        for i, weight in enumerate(weights[1:], 1):
            field += weight * padded[i : i + len(field)]
        field = np.ascontiguousarray(field.T)
    return field


def _cloud(rng: np.random.Generator, cells: int, size: int) -> Field:
    """Return smooth noise (size, size) of about unit variance, `cells` values along each edge."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _tube(offset: Field, half_width: Field | float) -> Field:
    """Return the attenuation across a hollow bone, in 0..1: solid, with a brighter rim."""
    t: Field = np.abs(offset / half_width)
    return _ramp(1 - t, 0.5) * (np.float32(0.6) + np.float32(0.4) * np.minimum(t * t * t, 1))


def _thorax(body: np.random.Generator, dome: float, x: Field, y: Field) -> tuple[Field, Field]:
    """Draw a healthy chest, the top of its diaphragm at `dome`.

    Returns attenuation, and depth inside the lungs (negative outside).
    """
    side, across = np.sign(x), np.abs(x)

    # Lungs: the space between chest wall, mediastinum, diaphragm, heart and aortic knob.
    top, width, gap = body.uniform(-0.82, -0.72), body.uniform(0.70, 0.82), body.uniform(0.12, 0.16)
    down = np.clip((y - top) / (dome + 0.25 - top), 0, 1)
    wall = (0.32 + (width - 0.32) * (1 - (1 - down) ** 2.4) ** 0.55) * (
        1 + body.uniform(-0.03, 0.03) * side
    )
    inner = 0.32 - (0.32 - gap) * np.clip(down / 0.3, 0, 1) ** 0.6
    # The liver raises the right hemidiaphragm, left in the image; both are flat near the spine.
    bend = np.where(across < 0.40, 0.05, body.uniform(0.22, 0.32)).astype(np.float32)
    diaphragm = (
        dome + body.uniform(0.02, 0.07) * _ramp(x, 0.3) + bend * ((across - 0.40) / 0.4) ** 2
    )
    # The cardiac apex is on the right in the image.
    heart_x, heart_y = body.uniform(0.07, 0.11), dome - body.uniform(0.18, 0.25)
    heart_r = body.uniform(0.29, 0.38)
    lean = x - heart_x
    lean = lean - body.uniform(0.25, 0.45) * np.minimum(y - heart_y, 0.2) * np.clip(
        lean / heart_r, 0, 1
    )
    heart = heart_r * (_radius(lean / heart_r, (y - heart_y) / body.uniform(0.34, 0.42)) - 1)
    knob_y, knob_r = top + body.uniform(0.42, 0.48), body.uniform(0.08, 0.12)
    knob = _radius(x - gap + 0.02, (y - knob_y) / 1.3) - knob_r
    space = np.minimum(
        np.minimum(wall - across, across - inner), np.minimum(y - top, 0.8 * (diaphragm - y))
    )
    depth: Field = np.minimum(space, np.minimum(heart, knob))
    air = _ramp(depth, 0.03)

    # Soft tissue: trunk and shoulders, thinner towards the skin; denser in the abdomen.
    trunk = (
        0.33 + (width - 0.14) * _ramp(y - top + 0.02, 0.26) + 0.22 * _bell((y - top - 0.25) / 0.3)
    )
    skin = _ramp(trunk - across, 0.04)
    tissue = skin * (0.32 + 0.28 * np.sqrt(np.clip(1 - (across / trunk) ** 2, 0, 1)))
    tissue += 0.15 * _bell(x / 0.20) + 0.07 * _ramp(-heart, 0.12)
    tissue += 0.12 * np.maximum(_ramp(y - diaphragm, 0.06), _ramp(y - dome - 0.12, 0.4))
    # Gastric bubble.
    tissue -= body.uniform(0, 0.12) * _bell((x - 0.42) / 0.14) * _bell((y - dome - 0.19) / 0.06)
    breast = _radius((across - 0.46) / 0.34, (y - dome + 0.30) / 0.36)
    tissue += max(0.0, body.uniform(-0.06, 0.06)) * _ramp(1 - breast, 0.15)
    # Trachea.
    tissue -= 0.13 * _ramp(0.05 - np.abs(x + 0.01), 0.05) * _ramp(knob_y + 0.16 - y, 0.15)
    tissue += 0.04 * _bell(x / 0.06) * _ramp(knob_y + 0.02 - y, 0.10)
    # Lungs are deepest, and so darkest, away from their edges.
    tissue -= air * (0.30 + 0.10 * np.clip(depth / 0.18, 0, 1))
    # Bones. Posterior ribs slope down laterally; anterior ribs slope down medially and end in
    # cartilage, which is radiolucent.
    rib = across / (1.06 * wall)
    spacing, fall = body.uniform(0.125, 0.16), body.uniform(0.16, 0.28)
    half = body.uniform(0.022, 0.028)
    courses = (
        (fall * rib * rib, 0.13, half, _ramp(across - 0.07, 0.05)),
        (fall + 0.34 * (1 - rib), 0.075, half * 1.2, _ramp(rib - 0.48, 0.2)),
    )
    ribs = np.zeros_like(depth)
    for course, strength, half_width, extent in courses:
        number = (y - top - 0.06 - course) * (1 / spacing)
        offset = (number - np.clip(np.rint(number), 0, 9)) * spacing
        ribs += _tube(offset, half_width) * (strength * extent)
    # Heart and abdomen are bright enough to hide most of a rib.
    bones = ribs * _ramp(1 - rib, 0.03) * _ramp(dome + 0.22 - y, 0.3) * (0.35 + 0.65 * air)
    along = (across - 0.06) / 0.80
    clavicle = top + 0.19 - body.uniform(0.10, 0.22) * along + 0.03 * np.sin(2 * np.pi * along)
    ends = _ramp(along, 0.03) * _ramp(1.02 - along, 0.05)
    bones += _tube(y - clavicle, 0.024 + 0.016 * _bell(along / 0.12)) * (0.14 * ends)
    scapula = _ramp(across - 0.60 - 0.35 * (y - top), 0.05)
    bones += 0.06 * scapula * (_ramp(top + 0.75 - y, 0.2) * _ramp(y - top - 0.08, 0.1))
    vertebrae = 0.035 + 0.018 * np.cos(2 * np.pi / body.uniform(0.13, 0.16) * y)
    bones += vertebrae * _ramp(0.085 - across, 0.03)
    markings = _vessels(body, len(y), dome - 0.55) * body.uniform(0.10, 0.17)
    markings = markings + 0.012 * _cloud(body, 24, len(y))
    return tissue + bones * skin + markings * air, depth


def _vessels(rng: np.random.Generator, size: int, hilum: float) -> Field:
    """Draw vessels that leave both hila and branch, thinner each time; (S, S) in 0..1."""
    layer = Image.new("L", (size, size))
    draw = ImageDraw.Draw(layer)
    for side in (-1, 1):
        x = np.full(7, side * 0.16)
        y = hilum + np.linspace(-0.10, 0.12, 7) + rng.normal(0, 0.02, 7)
        angle = np.linspace(-1.3, 1.3, 7) + rng.normal(0, 0.15, 7)
        for order in range(4):
            length = rng.uniform(0.08, 0.19, len(x))
            x2, y2 = x + side * length * np.cos(angle), y + length * np.sin(angle)
            width = max(1, round((0.020 - 0.005 * order) * size))
            for line in ((np.stack([x, y, x2, y2], axis=1) + 1) * (size / 2)).tolist():
                draw.line(line, fill=255 - 50 * order, width=width)
            x, y, angle = x2, y2, angle + rng.normal(0, 0.3, len(x))
            # Every other generation branches.
            if order % 2 == 0:
                x, y = np.tile(x, 2), np.tile(y, 2)
                angle = np.concatenate([angle - 0.35, angle + 0.35])
    return _blur(np.asarray(layer, dtype=np.float32) * np.float32(1 / 255), 0.004 * size)


def _opacity(class_name: str, rng: np.random.Generator, dome: float, x: Field, y: Field) -> Field:
    """Draw the attenuation that the disease adds, (S, S), 0 or more; not yet cut to the lungs."""
    size, added = len(y), np.zeros((len(y), len(y)), dtype=np.float32)
    if class_name == "COVID":
        # Patchy ground-glass opacities: bilateral, peripheral, mainly in the lower zones.
        texture = 0.35 * _cloud(rng, 14, size)
        for side in (-1, 1):
            for _ in range(rng.integers(2, 5)):
                center_x = side * rng.uniform(0.52, 0.70)
                center_y = dome - 0.75 * rng.beta(1.2, 2.0)
                across = (x - center_x) / rng.uniform(0.09, 0.17)
                distance = _radius(across, (y - center_y) / rng.uniform(0.09, 0.20))
                patch = rng.uniform(0.14, 0.26) * _ramp(1 - distance + texture, 0.9)
                added = np.maximum(added, patch)
    elif class_name == "Viral Pneumonia":
        # Diffuse reticular opacities in both lungs, densest around the hila.
        coarse, fine = _cloud(rng, 26, size), _cloud(rng, 40, size)
        net = np.maximum(1 - 2.2 * np.abs(coarse), 1 - 2.2 * np.abs(fine))
        spread = _bell((np.abs(x) - 0.25) / 0.36) * _bell((y - dome + 0.45) / 0.6)
        added += rng.uniform(0.12, 0.21) * (0.35 + 0.65 * spread) * (0.35 + np.maximum(net, 0))
    elif class_name == "Lung_Opacity":
        # One or two consolidated lobes: dense, with a border at the fissure.
        texture = 0.15 * _cloud(rng, 10, size)
        for side in rng.permutation([-1, 1])[: rng.integers(1, 3)]:
            lower = bool(rng.random() < 0.6)
            center_x = side * rng.uniform(0.38, 0.55)
            center_y = rng.uniform(0.10, 0.35) if lower else rng.uniform(-0.45, -0.20)
            across = (x - center_x) / rng.uniform(0.22, 0.34)
            distance = _radius(across, (y - center_y) / rng.uniform(0.20, 0.32))
            slope = y - center_y - 0.3 * (x - center_x) * side
            fissure = 0.10 + (slope if lower else -slope)
            lobe = rng.uniform(0.22, 0.36) * _ramp(1 - distance + texture, 0.5)
            added = np.maximum(added, lobe * _ramp(fissure, 0.05))
    return added


def default_dataset() -> Path:
    """Return the phantoms used where no dataset is named; written on first use."""
    folder = cache_folder() / f"phantoms-{covidxr.__version__}"
    return folder if folder.exists() else write_phantoms(folder)
