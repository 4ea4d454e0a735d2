"""The command predict."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from covidxr.cli import app
from covidxr.errors import ConfigError
from covidxr.prediction.cases import sample_phantom
from tests.cli.conftest import RUNNER, as_json

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_predict_models_and_recipes(tmp_path: Path) -> None:
    Image.fromarray(sample_phantom("COVID")).save(tmp_path / "a.png")
    result = as_json(
        "predict",
        "phantom-cnn",
        tmp_path / "a.png",
        "--explain",
        tmp_path / "maps",
        "--csv",
        tmp_path / "rows.csv",
    )
    (row,) = result["predictions"]
    assert (
        (tmp_path / "rows.csv")
        .read_text()
        .splitlines()[1]
        .startswith(f"{tmp_path / 'a.png'},answered,{row['predicted']},")
    )
    assert result["model_id"] == "phantom-cnn"
    assert row["path"] == str(tmp_path / "a.png")
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert Path(row["heat_map"]).exists()
    assert as_json("models")["models"] == [
        {"model_id": "phantom-cnn", "architecture": "poster_cnn", "ok": True}
    ]
    assert [r["name"] for r in as_json("recipes")["recipes"]][:2] == [
        "poster-cnn",
        "poster-cnn-augmented",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine", "ray"], "writes into one folder"),
        (["b", "--engine", "ray", "--out", "out"], "takes one folder or address"),
        (["--engine", "ray", "--out", "out", "--csv", "a.csv"], "drop --explain and --csv"),
        (["--engine", "ray", "--out", "out", "--explain", "maps"], "drop --explain and --csv"),
        (["--out", "out"], "is for --engine ray"),
    ],
)
def test_conflicting_options_of_predict_are_rejected(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RUNNER.invoke(app, ["predict", "phantom-cnn", "a", *words], catch_exceptions=False)
