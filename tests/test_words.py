"""The words of the project: every text that a user can read keeps to the glossary."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BANNED = {
    r"pictures?": "image, radiograph",
    r"films?": "radiograph",
    r"judg(e|es|ed|ing)": "classify, analyze, evaluate",
    r"verdicts?": "prediction",
    r"twins?": "near-duplicate",
    r"likeness": "similarity",
    r"straddlers?": "leaked samples",
    r"(the|a|its|no|this|model's) gates?": "OOD detector, input check",
    r"foreign": "out-of-distribution",
    r"turned (away|by|to)": "rejected, rotated",
    r"(is|are|was|were|be|been) (left out|turned away)": "excluded, rejected",
    r"leave (it|them|such \w+|images|pictures)? ?out": "exclude",
    r"mend(s|ed|ing)?": "fix, correct",
    r"(dataset|images|samples) (was|were|is|are) divided|divid(e|ing) the dataset": "split",
    r"called (?:Normal|COVID|Viral|Lung|right|so)": "predicted",
    r"speaks? (for|against)": "evidence for, against",
    r"learned from": "trained on",
    r"a coin's": "chance level",
    r"deserves? no belief": "unreliable",
    r"put to the test": "evaluate",
    r"made random": "randomized",
    r"worth": "reliability, performance",
    r"whoever|lest|hitherto": "plain words",
    r"what becomes? of|what became of": "stability, result",
    r"gr(e)ys?|colou?rs? of the|colours?|centres?|neighbours?": "gray, color, center, neighbor",
    r"normalis\w*|localis\w*|standardis\w*|randomis\w*|analys(e|ed|es|ing)": "American spelling",
    r"[0-9}] %": "no space before the percent sign",
}
"""Words (as regular expressions) and what to write instead."""
VISIBLE = [
    REPOSITORY / "streamlit_app.py",
    *sorted((REPOSITORY / "pages").glob("*.py")),
    *sorted((REPOSITORY / "covidxr").rglob("*.py")),
]
TEXTS = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "covidxr/app").rglob("*.html")),
]


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the strings of a file that are words and not names: those with a space.

    Docstrings are among them, since the help of commands and the API reference are made of them.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in node.values
                ),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def faults(text: str) -> list[str]:
    """Return the banned words in a text."""
    plain = re.sub(r"`[^`]*`", "``", text)  # code is no prose
    found = []
    for word in BANNED:
        bounds = ("", "") if word.startswith("[") else (r"\b", r"\b")
        found += [
            match.group()
            for match in re.finditer(bounds[0] + f"(?:{word})" + bounds[1], plain, re.IGNORECASE)
        ]
    return found


@pytest.mark.parametrize("path", VISIBLE, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_strings_keep_to_the_glossary(path: Path) -> None:
    wrong = [
        f"{line}: {word!r} in {text[:80]!r}"
        for line, text in sentences(path)
        for word in faults(text)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_documentation_keeps_to_the_glossary(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    wrong = [f"{n}: {word!r}" for n, line in enumerate(lines, 1) for word in faults(line)]
    assert wrong == []


@pytest.mark.parametrize("path", sorted((REPOSITORY / "weights").glob("*/card.json")), ids=str)
def test_cards_keep_to_the_glossary(path: Path) -> None:
    def texts(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from texts(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, str) and " " in value:
            yield value

    assert [
        word for text in texts(json.loads(path.read_text("utf-8"))) for word in faults(text)
    ] == []


@pytest.mark.parametrize(
    ("text", "word"),
    [("all pictures were read", "pictures"), ("97.0 % of them", "0 %"), ("a grey value", "grey")],
)
def test_a_planted_word_is_found(text: str, word: str) -> None:
    assert faults(text) == [word]
