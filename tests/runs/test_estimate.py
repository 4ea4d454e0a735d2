"""Estimates of cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from covidxr.errors import ConfigError, DatasetError
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs.estimate import estimate
from covidxr.runs.journal import RunConfig
from covidxr.runs.train import train

pytestmark = pytest.mark.usefixtures("phantom_models")


@pytest.mark.slow
def test_an_estimate_includes_decoding_unless_the_images_are_cached(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    chosen = recipe("poster-cnn").override(epochs=7, batch_size=16)
    config = RunConfig(chosen, SplitPlan(), str(phantoms))
    folder = tmp_path / "runs" / "not" / "there" / "yet"
    fresh = estimate(config, folder)
    assert (fresh.images, fresh.epochs) == (160, 7)
    assert (
        min(
            fresh.seconds_an_epoch,
            fresh.decode_seconds,
            fresh.run_bytes,
            fresh.free_bytes,
            fresh.cache_free_bytes,
        )
        > 0
    )
    assert fresh.cache_bytes == 160 * (64 * 64 + 128 * 128)
    assert fresh.seconds == pytest.approx(fresh.decode_seconds + 7 * fresh.seconds_an_epoch)
    assert fresh.fits
    assert not replace(fresh, free_bytes=fresh.run_bytes).fits
    assert not replace(fresh, cache_free_bytes=fresh.cache_bytes).fits
    assert not (tmp_path / "runs").exists()

    run = train(config, tmp_path / "run", at_once=True)
    decoded = estimate(config, tmp_path)
    assert (decoded.decode_seconds, decoded.cache_bytes) == (0, 0)
    assert decoded.run_bytes == pytest.approx(3 * run.checkpoint.stat().st_size, rel=0.05)
    other_size = estimate(replace(config, recipe=chosen.override(image_size=100)), tmp_path)
    # The thumbnails are cached.
    assert other_size.cache_bytes == 160 * 100 * 100
    assert other_size.decode_seconds > 0


@pytest.mark.slow
def test_an_epoch_takes_about_the_estimated_time(phantoms: Path, tmp_path: Path) -> None:
    config = RunConfig(
        recipe("poster-cnn").override(epochs=6, batch_size=16, rotation_degrees=5.0),
        SplitPlan(),
        str(phantoms),
    )
    # The first in a process loads libraries too.
    estimate(config, tmp_path)
    expected = estimate(config, tmp_path).seconds_an_epoch
    run = train(config, tmp_path / "run", at_once=True)
    assert expected / 5 < run.epochs()[-1]["seconds"] / 6 < expected * 5


@pytest.mark.slow
def test_a_configuration_that_a_run_rejects_has_no_estimate(phantoms: Path, tmp_path: Path) -> None:
    config = RunConfig(recipe("poster-cnn").override(batch_size=128), SplitPlan(), str(phantoms))
    with pytest.raises(
        ConfigError, match=r"batch_size \(128\) must be <= the number of training images \(112\)"
    ):
        estimate(config, tmp_path)
    with pytest.raises(DatasetError, match="there is no folder or zip"):
        estimate(replace(config, data=str(tmp_path / "nowhere")), tmp_path)
    with pytest.raises(ConfigError, match="frozen_stages must be <= 0 for poster_cnn, got 2"):
        estimate(
            replace(config, recipe=recipe("poster-cnn").override(batch_size=16, frozen_stages=2)),
            tmp_path,
        )


@pytest.mark.slow
def test_the_estimate_of_a_lung_recipe_includes_the_segmentation(
    lungs_folder: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(lungs_folder))
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    chosen = recipe("poster-cnn").override(epochs=1, batch_size=16, region="lungs")
    cost = estimate(RunConfig(chosen, SplitPlan(), str(phantoms)), tmp_path / "run")
    assert cost.cache_bytes == 160 * (64**2 + 128**2 + 256**2 // 8)
    whole = estimate(
        RunConfig(chosen.override(region="picture"), SplitPlan(), str(phantoms)), tmp_path / "run"
    )
    assert whole.cache_bytes == 160 * (64**2 + 128**2)
    assert whole.decode_seconds < cost.decode_seconds
