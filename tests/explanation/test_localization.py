"""Localization of attributions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covidxr.cards import Localization, MapSettings, Pointing
from covidxr.errors import ConfigError
from covidxr.explanation.localization import (
    best_localization,
    locate_heat_map,
    pointing,
    pointing_hits,
    shares_inside,
    smoothed_noise,
)
from covidxr.models.store import read_card
from covidxr.records import Interval


def spot(row: int, column: int, size: int = 8) -> np.ndarray:
    heat = np.zeros((size, size), dtype=np.float32)
    heat[row, column] = 1
    return heat


def test_a_hit_has_its_maximum_inside_the_box_without_tolerance() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 2:5] = True
    maps = np.stack([spot(2, 2), spot(4, 4), spot(4, 5), spot(1, 2), np.zeros((8, 8)), -spot(3, 3)])
    assert pointing_hits(maps, np.stack([mask] * 6)).tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_plateau_points_to_its_center() -> None:
    heat = np.zeros((1, 9, 9))
    heat[0, 3:6, 3:6] = 1
    assert pointing_hits(heat, spot(4, 4, 9)[None] > 0).tolist() == [True]
    assert pointing_hits(heat, spot(3, 3, 9)[None] > 0).tolist() == [False]


def test_only_positive_values_count() -> None:
    heat = np.array([[[3.0, 1.0], [-8.0, 0.0]], [[0.0, 0.0], [-1.0, 0.0]]])
    mask = np.array([[[True, False], [True, False]]] * 2)
    assert shares_inside(heat, mask).tolist() == [0.75, 0.0]


@given(st.integers(0, 1000), st.floats(0.1, 50))
def test_the_metrics_do_not_depend_on_the_scale(seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    maps, masks = random.normal(size=(3, 8, 8)), random.random((3, 8, 8)) < 0.4
    assert np.array_equal(pointing_hits(maps, masks), pointing_hits(maps * scale, masks))
    assert np.allclose(shares_inside(maps, masks), shares_inside(maps * scale, masks))
    assert np.allclose(shares_inside(maps, masks) + shares_inside(maps, ~masks), 1)


def test_a_uniform_attribution_has_the_share_of_the_mask() -> None:
    masks = np.random.default_rng(0).random((4, 16, 16)) < 0.3
    assert np.allclose(shares_inside(np.ones((4, 16, 16)), masks), masks.mean(axis=(1, 2)))


def test_pointing_is_paired_with_the_fixed_point_baseline() -> None:
    """10 images: 8 hits against 5, on the same images but one."""
    mask = spot(4, 4) > 0
    maps = np.stack([spot(4, 4)] * 8 + [spot(0, 0)] * 2)
    constant = np.array([True] * 4 + [False] * 5 + [True])
    found = pointing(maps, np.stack([mask] * 10), constant)
    assert (found.n, found.hits.estimate, found.inside.estimate) == (10, 0.8, 0.8)
    assert found.gain.estimate == pytest.approx(0.3)
    assert found.gain.low < 0.3 < found.gain.high
    same = pointing(maps, np.stack([mask] * 10), pointing_hits(maps, np.stack([mask] * 10)))
    assert same.gain == Interval(0.0, 0.0, 0.0)
    with pytest.raises(ConfigError):
        pointing(maps[:0], np.zeros((0, 8, 8), dtype=bool), constant[:0])


def test_groups_widen_the_intervals() -> None:
    mask = np.stack([spot(4, 4) > 0] * 40)
    maps = np.stack([spot(4, 4)] * 20 + [spot(0, 0)] * 20)
    alone = pointing(maps, mask, np.zeros(40, dtype=bool))
    tied = pointing(maps, mask, np.zeros(40, dtype=bool), np.repeat(np.arange(8), 5))
    for name in ("hits", "gain", "inside"):
        a, b = getattr(alone, name), getattr(tied, name)
        assert b.high - b.low > 1.5 * (a.high - a.low)


def test_noise_is_smooth_varied_and_reproducible() -> None:
    maps = smoothed_noise(3, 64)
    assert (maps.min(), maps.max()) == (0, 1)
    assert np.abs(np.diff(maps, axis=1)).max() < 0.2
    assert not np.allclose(maps[0], maps[1])
    assert np.array_equal(maps, smoothed_noise(3, 64))


@pytest.mark.parametrize(
    ("row", "column", "zone"),
    [
        (4, 5, "right upper"),
        (15, 5, "right middle"),
        (27, 5, "right lower"),
        (4, 25, "left upper"),
        (27, 25, "left lower"),
    ],
)
def test_the_patient_s_right_is_the_image_s_left(row: int, column: int, zone: str) -> None:
    lungs = np.zeros((32, 32), dtype=bool)
    lungs[1:31, 2:12] = lungs[1:31, 20:30] = True
    facts = locate_heat_map(spot(row, column, 32) + 0.5 * spot(0, 0, 32), lungs)
    assert (facts.zone, facts.in_zone) == (zone, 1.0)
    assert facts.in_lungs == pytest.approx(2 / 3)
    assert facts.lungs == pytest.approx(600 / 1024)


def test_an_attribution_outside_the_lungs_has_no_zone() -> None:
    lungs = np.zeros((8, 8), dtype=bool)
    lungs[2:6, 2:6] = True
    assert locate_heat_map(spot(0, 0), lungs).zone == ""
    assert locate_heat_map(spot(0, 0), np.zeros((8, 8), dtype=bool)).lungs == 0


def test_a_single_lung_has_zones() -> None:
    lungs = np.zeros((30, 30), dtype=bool)
    lungs[:, 4:5] = True
    assert locate_heat_map(spot(29, 4, 30), lungs).zone.endswith("lower")


def measured(method: str, gain: float, inside: float, **more: float) -> Localization:
    results = Pointing(
        20,
        Interval(0.5, 0.4, 0.6),
        Interval(inside, 0, 1),
        Interval(gain, gain - 0.15, gain + 0.15),
    )
    layer = {"layer": "relu2"} if "cam" in method else {}
    settings = MapSettings(method, **layer, **more)  # type: ignore[arg-type]
    best = replace(results, gain=Interval(9.0, 9.0, 9.0))
    return Localization("Lung_Opacity", settings, "", results, best, best)


def test_the_best_is_chosen_on_val_alone_then_by_its_share(phantom_model_folder: Path) -> None:
    card = read_card(phantom_model_folder / "phantom-cnn")
    assert best_localization(card) is None
    baseline = replace(measured("gradcam", 5, 1), settings=None, rival="constant")
    configurations = (
        baseline,
        measured("gradcam", 0.2, 0.9),
        measured("hirescam", 0.3, 0.3),
        measured("hirescam", 0.3, 0.4, smoothing=0.06),
        measured("occlusion", 0.9, 0.4, window=0.4),
        replace(measured("integrated-gradients", 0.0, 0.0), test=baseline.val),
    )
    card = replace(card, localisation=configurations)
    assert best_localization(card) == configurations[3]
    assert best_localization(card, "gradcam") == configurations[1]
    assert best_localization(card, "occlusion") == configurations[4]
    assert best_localization(card, "gradient-shap") is None


def test_grad_cam_is_the_default_where_none_is_better_than_a_fixed_point(
    phantom_model_folder: Path,
) -> None:
    card = read_card(phantom_model_folder / "phantom-cnn")
    cam, hires = measured("gradcam", -0.2, 0.9), measured("hirescam", 0.1, 0.3)
    assert best_localization(replace(card, localisation=(cam, hires))) == cam
    assert best_localization(replace(card, localisation=(cam, hires)), "hirescam") == hires
    assert (
        best_localization(replace(card, localisation=(cam, measured("hirescam", 0.2, 0.3)))) != cam
    )
