"""The command line: in processes for exit codes, else in this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from covidxr.cli import app, main
from covidxr.cli.output import make_table
from covidxr.errors import ConfigError
from covidxr.prediction.cases import sample_phantom
from covidxr.prediction.loading import load_classifier

REPOSITORY = Path(__file__).resolve().parents[2]
RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _phantom_models(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))


def covidxr(*words: object) -> tuple[int, str, str]:
    """Run the command in a process of its own: (exit code, stdout, stderr)."""
    command = [sys.executable, "-m", "covidxr", *map(str, words)]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=dict(os.environ),
        timeout=300,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


def as_json(*words: object) -> dict[str, Any]:
    """Run the command in this process with --json and return its one object."""
    result = RUNNER.invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_phantom_summary_and_split(tmp_path: Path) -> None:
    folder = tmp_path / "phantoms"
    assert as_json("phantom", folder, "--per-class", 20, "--size", 96)["images"] == 80
    found = as_json("dataset", "summary", "--data", folder)
    assert (found["n"], found["synthetic"], found["classes"]["COVID"]) == (80, True, 20)
    out = tmp_path / "split.csv"
    split = as_json("dataset", "split", "--data", folder, "--out", out, "--protocol", "stratified")
    assert split["counts"]["train"] == dict.fromkeys(found["classes"], 14)
    assert split["fingerprint"] in out.read_text().splitlines()[0]


@pytest.mark.slow
def test_unreadable_images_are_an_error_or_skipped(tmp_path: Path) -> None:
    as_json("phantom", tmp_path / "p", "--per-class", 20, "--size", 96)
    (tmp_path / "p/COVID/images/COVID-1.png").write_bytes(b"x" * 50)
    code, out, err = covidxr("dataset", "summary", "--data", tmp_path / "p")
    assert (code, out) == (2, "")
    assert err.startswith("error: COVID/images/COVID-1.png: cannot read")
    found = as_json("dataset", "summary", "--data", tmp_path / "p", "--skip-unreadable")
    assert [row["file"] for row in found["skipped"]] == ["COVID/images/COVID-1.png"]
    assert found["classes"]["COVID"] == 19


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


def test_the_text_output_has_tables() -> None:
    for words, expected in (
        (["evaluate", "phantom-cnn"], "sensitivity"),
        (["models"], "phantom-cnn"),
        (["recipes"], "poster_cnn"),
    ):
        result = RUNNER.invoke(app, words, catch_exceptions=False, env={"COLUMNS": "200"})
        assert expected in result.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate", "absent"], "there is no model absent"),
        (["train", "--recipe", "absent"], "there is no recipe 'absent'"),
        (["train", "--recipe", "poster-cnn", "--epochs", "0"], "epochs must be 1 or more, got 0"),
        (
            ["dataset", "split", "--out", "x", "--protocol", "random"],
            "grouped or stratified, got 'random'",
        ),
        (["predict", "phantom-cnn", "absent.png"], "there is no file or folder absent.png"),
        (["models", "burn"], "expected `covidxr models`"),
        (["resume", "absent"], "absent is not a run"),
        (
            ["train", "--recipe", "poster-cnn", "--model-id", "phantom-cnn"],
            "there is a model phantom-cnn already",
        ),
        (["evaluate", "--nonsense"], "No such option: --nonsense"),
        (["evaluate"], "model"),
    ],
)
def test_user_errors_exit_with_2_and_one_json_object(
    words: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["covidxr", *words, "--json"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert sentence in json.loads(out)["error"]
    assert err == ""


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covidxr.prediction.loading.list_models", lambda: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["covidxr", "models"])
    with pytest.raises(ZeroDivisionError):
        main()


def commands(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command, those of groups too."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            found += commands(command, (*path, name))
        else:
            found.append((*path, name))
    return found


@pytest.mark.parametrize("words", commands(typer.main.get_group(app)), ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    result = RUNNER.invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: covidxr {' '.join(words)}" in result.stdout


def test_the_help_shows_the_names_of_extras() -> None:
    for words, extra in ((["report"], "dicom"), (["dataset", "fetch"], "fetch")):
        text = RUNNER.invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).stdout
        assert f'pip install "covidxr[{extra}]"' in text


def test_the_help_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'sklearn', 'monai', 'streamlit', 'pandas', 'plotly'}"
    code = f"import covidxr.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert result.stdout.strip() == "[]"


def test_brackets_in_tables_are_text() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(make_table("[a]", ["file"], [["[bold]Anna[/] [b].png"]]))
    assert "[a]" in capture.get()
    assert "[bold]Anna[/] [b].png" in capture.get()


@pytest.mark.slow
def test_train_publishes_a_model_that_resume_does_not_train_again(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "weights"))
    words = [
        "train",
        "--data",
        phantoms,
        "--recipe",
        "poster-cnn",
        "--epochs",
        "1",
        "--batch-size",
        "16",
        "--run-dir",
        tmp_path / "run",
    ]
    code, out, err = covidxr(*words, "--learning-rate", "0.02", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["status"], result["model_id"]) == ("finished", "run")
    assert load_classifier("run").card.recipe.learning_rate == 0.02
    code, out, _ = covidxr("resume", tmp_path / "run", "--model-id", "again", "--json")
    assert json.loads(out)["metrics"] == result["metrics"]
    code, out, _ = covidxr(*words, "--model-id", "third", "--json")
    assert code == 2
    assert "already holds a run" in json.loads(out)["error"]


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
