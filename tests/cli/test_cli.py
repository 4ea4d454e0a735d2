"""The command line as a whole: errors, help, tables."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer

from covidxr.cli import app, main
from tests.cli.conftest import REPOSITORY, RUNNER

pytestmark = pytest.mark.usefixtures("phantom_models")


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
