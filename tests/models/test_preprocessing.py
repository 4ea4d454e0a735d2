from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from covidxr.images.radiograph import fit_to_square
from covidxr.models.preprocessing import apply_changes, draw_changes, normalize, to_input, to_unit
from covidxr.records import Augmentation, Preprocessing

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120)).astype(np.uint8)


def blob(row: int, column: int, size: int = 64) -> torch.Tensor:
    """One bright spot of 5 x 5."""
    image = torch.zeros(1, 1, size, size)
    image[0, 0, row - 2 : row + 3, column - 2 : column + 3] = 1
    return image


def center(image: torch.Tensor) -> tuple[float, float]:
    """Center of mass as (row, column)."""
    mass = image[0, 0]
    rows, columns = torch.meshgrid(
        torch.arange(mass.shape[0]), torch.arange(mass.shape[1]), indexing="ij"
    )
    return float((rows * mass).sum() / mass.sum()), float((columns * mass).sum() / mass.sum())


def test_input_equals_torchvision_preprocessing() -> None:
    pixels = fit_to_square(IMAGE, 64)
    ours = to_input(pixels[None], Preprocessing(image_size=64))[0]
    rgb = torch.from_numpy(pixels.copy()).repeat(3, 1, 1)
    theirs = v2.functional.normalize(
        v2.functional.to_dtype(rgb, torch.float32, scale=True),
        [0.485, 0.456, 0.406],
        [0.229, 0.224, 0.225],
    )
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_training_and_serving_inputs_are_identical() -> None:
    """The training loop uses to_unit and normalize, inference to_input; batches change nothing."""
    batch = np.stack([fit_to_square(IMAGE, 64), fit_to_square(IMAGE[::-1], 64)])
    trained = normalize(to_unit(batch), Preprocessing(image_size=64))
    served = torch.cat([to_input(one[None], Preprocessing(image_size=64)) for one in batch])
    assert torch.equal(trained, served)


def test_no_augmentation_changes_nothing() -> None:
    gray = to_unit(np.stack([fit_to_square(IMAGE, 64)] * 3))
    moved = apply_changes(gray, *draw_changes(3, Augmentation(), torch.Generator().manual_seed(0)))
    assert torch.allclose(moved, gray, atol=1e-5)


def test_flip_is_a_flip_for_half_of_the_images() -> None:
    affine, tone = draw_changes(
        400, Augmentation(horizontal_flip=True), torch.Generator().manual_seed(0)
    )
    gray = to_unit(fit_to_square(IMAGE, 64)[None]).expand(400, -1, -1, -1)
    moved = apply_changes(gray, affine, tone)
    flipped = torch.tensor([torch.allclose(m, gray[0].flip(-1), atol=1e-5) for m in moved])
    kept = torch.tensor([torch.allclose(m, gray[0], atol=1e-5) for m in moved])
    assert (flipped ^ kept).all()
    assert 160 < int(flipped.sum()) < 240


def test_rotation_is_about_the_center_and_within_range() -> None:
    affine, tone = draw_changes(
        200, Augmentation(rotation_degrees=10), torch.Generator().manual_seed(0)
    )
    spot = blob(12, 31)
    angles = []
    for i in range(200):
        row, column = center(apply_changes(spot, affine[i : i + 1], tone[i : i + 1]))
        angles.append(np.degrees(np.arctan2(column - 31.5, 31.5 - row)))
        assert np.hypot(row - 31.5, column - 31.5) == pytest.approx(19.5, abs=0.4)
    assert max(angles) <= 10.0
    # The spot itself is at -1.5 degrees.
    assert min(angles) >= -13.0
    assert np.std(angles) > 4


def test_zoom_shift_and_contrast_are_within_range() -> None:
    generator = torch.Generator().manual_seed(0)
    affine, tone = draw_changes(500, Augmentation(zoom=0.1, shift=0.05, contrast=0.2), generator)
    scale = affine[:, 0, 0]
    assert 1 / 1.1 <= float(scale.min()) < 0.95
    assert 1.05 < float(scale.max()) <= 1.1
    assert 0.08 < float(affine[:, :, 2].abs().max()) <= 0.1  # the grid is two units wide
    assert 0.15 < float(tone.abs().max()) <= 0.2
    row, column = center(
        apply_changes(
            blob(32, 32), torch.tensor([[[1.0, 0, 0.25], [0, 1.0, 0]]]), torch.zeros(1, 2)
        )
    )
    # An eighth of 64 px.
    assert (row, column) == pytest.approx((32, 24), abs=0.05)
    toned = apply_changes(
        torch.full((1, 1, 8, 8), 0.75), torch.eye(2, 3)[None], torch.tensor([[0.2, 0.1]])
    )
    assert float(toned[0, 0, 4, 4]) == pytest.approx((0.75 - 0.5) * 1.2 + 0.5 + 0.05)


def test_the_generator_determines_the_changes() -> None:
    one, again = (
        draw_changes(4, Augmentation(10, True), torch.Generator().manual_seed(5))[0]
        for _ in range(2)
    )
    assert torch.equal(one, again)
