"""The commands of stored models: evaluate, compare."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from covidxr.cli import app
from covidxr.errors import ConfigError
from tests.cli.conftest import RUNNER, as_json

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_evaluate_has_the_keys_that_scripts_rely_on() -> None:
    result = as_json("evaluate", "phantom-cnn")
    assert {"model_id", "split", "n", "class_names", "confusion_matrix", "per_class"} <= set(result)
    for name in ("accuracy", "macro_f1", "ece", "brier"):
        assert set(result[name]) == {"estimate", "low", "high"}
    for metrics in result["per_class"].values():
        assert {"sensitivity", "specificity", "ppv", "npv", "f1", "auroc"} <= set(metrics)


def test_compare_of_a_model_and_its_copy(
    phantom_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("phantom-cnn", "copy"):
        shutil.copytree(phantom_model_folder / "phantom-cnn", tmp_path / name)
    card = tmp_path / "copy" / "card.json"
    card.write_text(card.read_text().replace('"model_id": "phantom-cnn"', '"model_id": "copy"'))
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path))
    result = as_json("compare", "phantom-cnn", "copy")
    (pair,) = result["pairs"]
    assert (result["models"], result["n"]) == (["phantom-cnn", "copy"], 24)
    assert (pair["a"], pair["b"], pair["mcnemar_p"], pair["p_holm"]) == (
        "phantom-cnn",
        "copy",
        1.0,
        1.0,
    )
    text = RUNNER.invoke(app, ["compare", "phantom-cnn", "copy"], env={"COLUMNS": "200"}).stdout
    assert "AUROC, COVID-19: +0.000 (+0.000 to +0.000), p = 1.000" in text


def test_an_invalid_prevalence_is_rejected() -> None:
    for text, sentence in (
        ("COVID", "expected --prevalence CLASS=FRACTION"),
        ("Flu=0.1", "no class Flu"),
        ("COVID=7", "prevalence"),
    ):
        result = RUNNER.invoke(app, ["evaluate", "phantom-cnn", "--prevalence", text])
        assert isinstance(result.exception, ConfigError)
        assert sentence in str(result.exception)
    text = RUNNER.invoke(app, ["evaluate", "phantom-cnn", "--prevalence", "COVID=0.02"]).stdout
    assert "COVID-19 at a prevalence of 2.0%: PPV" in text
