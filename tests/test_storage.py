from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from covidxr.errors import ConfigError
from covidxr.models.recipes import RECIPES
from covidxr.records import Recipe
from covidxr.storage import csv_safe, from_json, new_folder, to_json, write_text


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"]
    pair: tuple[int, float]


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    many: tuple[Inner, ...]
    table: dict[str, Inner]
    perhaps: int | None = None


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_recipes_survive_a_round_trip(recipe: Recipe) -> None:
    assert from_json(Recipe, to_json(recipe)) == recipe


def test_nested_records_survive_a_round_trip() -> None:
    inner = Inner("a", (1, 2.5))
    outer = Outer("x", inner, (inner, inner), {"k": inner})
    assert from_json(Outer, to_json(outer)) == outer


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "card is not valid JSON"),
        ("[]", "card must be an object, got list"),
        ('{"kind": "c", "pair": [1, 2]}', "card.kind must be one of a, b, got 'c'"),
        ('{"kind": "a", "pair": [1]}', "card.pair must be"),
        ('{"kind": "a", "pair": [true, 2]}', r"card.pair\[0\] must be int, got bool"),
        ('{"kind": "a", "pair": ["1", 2]}', r"card.pair\[0\] must be int, got str"),
        ('{"kind": "a"}', "card lacks the field pair"),
        ('{"kind": "a", "pair": [1, 2], "x": 0}', "card has an unknown field x"),
    ],
)
def test_errors_name_the_wrong_field(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        from_json(Inner, text, "card")


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"x": float("nan")})


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "f", "old")

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_text(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_new_folder_is_complete_or_absent(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with new_folder(tmp_path / "m") as folder:
            (folder / "a").write_text("1")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    for text in ("1", "2"):
        with new_folder(tmp_path / "m") as folder:
            (folder / "a").write_text(text)
    assert (tmp_path / "m" / "a").read_text() == "2"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("mark", "=+-@\uff1d\uff0b\uff0d\uff20\t\r\n")
def test_formulas_get_an_apostrophe(mark: str) -> None:
    assert csv_safe(f"{mark}HYPERLINK(A1).png") == f"'{mark}HYPERLINK(A1).png"
    assert csv_safe(f"a{mark}b") == f"a{mark}b"
    assert csv_safe("") == ""
