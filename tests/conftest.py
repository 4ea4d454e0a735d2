"""Fixtures of several tests: phantoms, a small model trained on them, the development data."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from covidxr.datasets.phantoms import write_phantoms
from covidxr.records import SplitPlan

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep decoded phantoms out of the user's cache; the development data keeps its own."""
    os.environ["COVIDXR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 160 phantoms."""
    return write_phantoms(
        tmp_path_factory.mktemp("phantoms") / "phantoms", per_class=40, size=128, seed=0
    )


@pytest.fixture(scope="session")
def phantom_run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the study's small network on phantoms."""
    from covidxr.models.recipes import recipe
    from covidxr.runs.journal import RunConfig
    from covidxr.runs.train import train

    chosen = recipe("poster-cnn").override(epochs=3, batch_size=16)
    return train(
        RunConfig(chosen, SplitPlan(), str(phantoms)),
        tmp_path_factory.mktemp("runs") / "phantom-run",
    ).path


@pytest.fixture(scope="session")
def phantom_model_folder(phantom_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder that holds one model, phantom-cnn.

    Its OOD detector accepts more than usual: it is fitted on 112 small phantoms only.
    """
    from covidxr.models import store
    from covidxr.runs.publish import publish

    root = tmp_path_factory.mktemp("weights")
    card = publish(phantom_run, "phantom-cnn", root)
    assert card.gate is not None
    wide = {space: 2 * limit for space, limit in card.gate.thresholds.items()}
    store.update_card(root, replace(card, gate=replace(card.gate, thresholds=wide)))
    return root


@pytest.fixture
def phantom_models(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored phantom model stands for all models."""
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))


@pytest.fixture(scope="session")
def two_models(phantom_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with phantom-cnn and its twin, which calls three test samples otherwise."""
    root = tmp_path_factory.mktemp("two")
    for name in ("phantom-cnn", "twin"):
        shutil.copytree(phantom_model_folder / "phantom-cnn", root / name)
    card, table = root / "twin" / "card.json", root / "twin" / "predictions.csv"
    card.write_text(
        card.read_text("utf-8").replace('"model_id": "phantom-cnn"', '"model_id": "twin"'), "utf-8"
    )
    header, *rows = [line.split(",") for line in table.read_text("utf-8").splitlines()]
    changed = [row for row in rows if row[1] == "test"][:3]
    for row in changed:
        row[3:7] = (
            sorted(row[3:7], key=float)[::-1]
            if row[3] != max(row[3:7], key=float)
            else sorted(row[3:7], key=float)
        )
    table.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n", "utf-8")
    return root


@pytest.fixture(scope="session")
def lungs_folder(
    phantom_model_folder: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A weights folder with the lung segmenter, phantom-cnn and lungs-cnn, trained on phantoms."""
    from covidxr.cards import SegmenterRecipe
    from covidxr.datasets.opening import open_dataset
    from covidxr.lungs.training import train_lungs
    from covidxr.models.recipes import recipe
    from covidxr.runs.journal import RunConfig
    from covidxr.runs.publish import publish
    from covidxr.runs.train import train

    root = tmp_path_factory.mktemp("lungs")
    shutil.copytree(phantom_model_folder / "phantom-cnn", root / "phantom-cnn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVIDXR_WEIGHTS", str(root))
        train_lungs(open_dataset(phantoms), SegmenterRecipe(epochs=6), SplitPlan(), root)
        chosen = recipe("poster-cnn").override(epochs=1, batch_size=16, region="lungs")
        run = train(
            RunConfig(chosen, SplitPlan(), str(phantoms)),
            tmp_path_factory.mktemp("runs") / "lungs-run",
        )
        publish(run.path, "lungs-cnn", root)
    return root


@pytest.fixture(scope="session")
def database() -> Path:
    """The development copy of the database, or a skip."""
    folder = (
        Path(os.environ.get("COVIDXR_DATA") or REPOSITORY.parent / "shared" / "data")
        / "COVID-19_Radiography_Dataset"
    )
    if not folder.is_dir():
        pytest.skip("the development copy of the database is not here (COVIDXR_DATA)")
    return folder
