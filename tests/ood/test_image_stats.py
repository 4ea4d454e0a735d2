from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from covidxr.datasets.phantoms import render_phantom
from covidxr.images.quality import layout
from covidxr.ood.image_stats import describe, measure_textures, obvious_faults, summarize
from covidxr.records import CLASS_NAMES

PHANTOMS = [render_phantom(name, np.random.default_rng(i))[0] for i, name in enumerate(CLASS_NAMES)]
USUAL = np.mean([layout(image) for image in PHANTOMS], axis=0)
USUAL /= np.linalg.norm(USUAL)


def faults(image: np.ndarray) -> tuple[str, ...]:
    look = summarize(image)
    return obvious_faults(look, describe([look])[0][0], USUAL, unusual=True)


def test_a_grating_has_its_power_at_its_frequency_at_any_contrast() -> None:
    y, x = np.mgrid[:128, :128] / 128
    for cycles, angle in ((5, 0.0), (20, 0.7), (40, 1.5)):
        wave = np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)))
        strong, weak = (np.rint(128 + contrast * wave).astype(np.uint8) for contrast in (100, 30))
        assert abs(int(measure_textures(strong[None])[0].argmax()) + 1 - cycles) <= 1
        assert measure_textures(weak[None])[0][cycles - 1] == pytest.approx(
            measure_textures(strong[None])[0][cycles - 1], abs=0.05
        )


def test_the_texture_is_the_rotational_average_of_scipy() -> None:
    from scipy import fft, ndimage
    from scipy.signal.windows import hann

    square = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    power = (
        np.abs(fft.fft2((square - square.mean()) / square.std() * np.outer(hann(128), hann(128))))
        ** 2
    )
    cycles = np.floor(
        np.hypot(*np.meshgrid(fft.fftfreq(128, 1 / 128), fft.fftfreq(128, 1 / 128)))
    ).astype(int)
    assert measure_textures(square[None])[0] == pytest.approx(
        np.log(ndimage.mean(power, cycles, np.arange(1, 64)) + 1e-3)
    )


def test_the_aspect_ratio_hardly_changes_the_summary() -> None:
    square, wide = (render_phantom("Normal", np.random.default_rng(0))[0] for _ in range(2))
    wide = np.asarray(Image.fromarray(wide).resize((320, 256)))
    (one, other), _ = describe([summarize(wide), summarize(square)])
    assert one @ other > 0.99
    assert summarize(wide).shape == (256, 320)


def test_results_do_not_depend_on_the_batch() -> None:
    looks = [summarize(image) for image in PHANTOMS]
    alone = [describe([look]) for look in looks]
    for together, each in zip(describe(looks), zip(*alone, strict=True), strict=True):
        assert together == pytest.approx(np.concatenate(each), abs=1e-5)


@pytest.mark.parametrize("image", PHANTOMS)
def test_phantoms_pass_and_inverted_ones_do_not(image: np.ndarray) -> None:
    assert faults(image) == ()
    assert "inverted" in faults(255 - image)[0]


def test_each_fault_is_named() -> None:
    image = PHANTOMS[0]
    assert "256 x 100 px" in faults(image[:100])[0]
    assert faults(image // 20) == ("The image is nearly black.",)
    assert faults(255 - image // 20) == ("The image is nearly white.",)
    assert "blank in the center" in faults(np.full((256, 256), 128, np.uint8))[0]
