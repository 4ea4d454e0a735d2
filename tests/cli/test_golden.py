"""The JSON of every command, on phantoms and the shipped models, frozen in golden.json.

`python tests/cli/test_golden.py` writes golden.json again.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

GOLDEN = Path(__file__).with_name("golden.json")
MODEL, OTHER = "poster-cnn", "poster-cnn-augmented"
SHAPE_ONLY = ("train", "runs", "estimate")
"""Commands whose numbers depend on the machine: only keys are compared."""


def collect(folder: Path) -> dict[str, Any]:
    """Run the commands in a new folder and return what each prints."""
    from PIL import Image

    from covidxr.cli import app

    database, images = folder / "phantoms", folder / "images"
    images.mkdir()
    found: dict[str, Any] = {}

    def run(name: str, *words: object) -> None:
        result = CliRunner().invoke(app, [*map(str, words), "--json"])
        printed = (
            result.stdout
            if result.exception is None or result.stdout
            else json.dumps({"error": str(result.exception)})
        )
        found[name] = json.loads(
            printed.replace(str(folder), "FOLDER").replace(str(GOLDEN.parents[2]), "REPOSITORY")
        )

    run("phantom", "phantom", database, "--per-class", 20, "--size", 128)
    Image.open(database / "COVID/images/COVID-1.png").save(images / "a.png")
    Image.new("L", (128, 128)).save(images / "black.png")
    (images / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run("summary", "dataset", "summary", "--data", database)
    run("audit", "dataset", "audit", "--data", database, "--exclude-to", folder / "exclusions.csv")
    run("split", "dataset", "split", "--data", database, "--out", folder / "split.csv")
    run("import", "dataset", "import", database, "--name", "golden")
    run("recipes", "recipes")
    run("models", "models")
    run("verify", "models", "verify")
    run("evaluate", "evaluate", MODEL)
    run("compare", "compare", MODEL, OTHER)
    run("predict", "predict", MODEL, images)
    run("explain", "explain", MODEL, images / "a.png", "--out", folder / "map.png")
    run("report", "report", MODEL, images / "black.png", "--out", folder / "report.pdf")
    settings = (
        "--recipe",
        "poster-cnn",
        "--data",
        database,
        "--epochs",
        1,
        "--batch-size",
        16,
        "--no-store",
    )
    run("estimate", "train", *settings, "--estimate")
    run("train", "train", *settings, "--run-dir", folder / "run")
    run("runs", "runs", folder / "run")
    run("error", "evaluate", "absent")
    return found


def differences(new: Any, old: Any, place: str, words: bool, numbers: bool = True) -> list[str]:
    """Return where two results differ, in sentences too if `words`, in values if `numbers`."""
    if isinstance(old, dict) and isinstance(new, dict):
        missing = [f"{place}.{key} is missing" for key in old if key not in new]
        return missing + [
            d
            for key in old
            if key in new
            for d in differences(new[key], old[key], f"{place}.{key}", words, numbers)
        ]
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return [f"{place} has {len(new)} entries, not {len(old)}"]
        return [
            d
            for i, (a, b) in enumerate(zip(new, old, strict=True))
            for d in differences(a, b, f"{place}[{i}]", words, numbers)
        ]
    if not numbers:
        return []
    if isinstance(old, float) and isinstance(new, float):
        return (
            []
            if new == pytest.approx(old, rel=1e-2, abs=2e-3)
            else [f"{place} is {new}, not {old}"]
        )
    sentence = isinstance(old, str) and isinstance(new, str) and " " in old
    return [] if new == old or (sentence and not words) else [f"{place} is {new!r}, not {old!r}"]


@pytest.mark.slow
def test_the_json_of_every_command_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(GOLDEN.parents[2] / "weights"))
    new, old = collect(tmp_path), json.loads(GOLDEN.read_text("utf-8"))
    assert list(new) == list(old)
    for name, result in old.items():
        assert (
            differences(new[name], result, name, words=True, numbers=name not in SHAPE_ONLY) == []
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["COVIDXR_CACHE"] = str(Path(scratch) / "cache")
        text = json.dumps(collect(Path(scratch)), indent=1, ensure_ascii=False)
    GOLDEN.write_text(text + "\n", "utf-8")
