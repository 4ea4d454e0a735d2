"""The law of the house: which room may import which, read off every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FLOORS = {
    "errors": 0,
    "records": 0,
    "cards": 0,
    "storage": 0,
    "data": 1,
    "figures": 1,
    "evaluation": 1,
    "models": 2,
    "explanation": 2,
}
FLOORS |= {"runs": 3, "reports": 3, "workflows": 4, "cli": 5, "app": 5, "__main__": 6, "__init__": 0}
NUMBERS = {"numpy", "pandas", "PIL", "pydicom", "scipy", "sklearn", "plotly", "platformdirs", "filelock", "tqdm", "openpyxl"}
NUMBERS |= {"skimage"}
PAPER = {"fpdf"}
SCALE = {"ray", "fsspec", "pyarrow"}
NETWORKS = {"torch", "torchvision", "captum", "lightning_fabric", "monai", "safetensors"}
LIBRARIES = {
    0: {"numpy"},
    1: NUMBERS,
    2: NUMBERS | NETWORKS,
    3: NUMBERS | PAPER | {"highdicom"},
    4: NUMBERS | NETWORKS | SCALE,
    5: NUMBERS | NETWORKS | {"typer", "rich", "streamlit"},
    6: set(),
}
PAGE_LIBRARIES = {"streamlit"}
PAGE_ROOMS = {"app", "cards", "records", "figures"}
FILES = sorted((REPOSITORY / "covidxr").rglob("*.py"))
PAGES = [REPOSITORY / "streamlit_app.py", *sorted((REPOSITORY / "pages").glob("*.py"))]


def imports(source: str) -> list[tuple[str, bool]]:
    """Return (dotted module, whether it is imported when the file is) of every import outside TYPE_CHECKING."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, not late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute"
                module = child.module or ""
                # `from covidxr import workflows` names the room in the alias.
                found.extend((f"covidxr.{a.name}" if module == "covidxr" else module, not late) for a in child.names)
            elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
                visit(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(ast.parse(source), False)
    return found


def breaches(path: Path, source: str) -> list[str]:
    """Return what a file of the package imports against the table."""
    room = path.relative_to(REPOSITORY / "covidxr").parts[0].removesuffix(".py")
    floor = FLOORS[room]
    wrong = []
    for module, at_once in imports(source):
        top, *rest = module.split(".")
        if top == "covidxr":
            other = rest[0] if rest and rest[0] in FLOORS else "__init__"
            downward = FLOORS[other] < floor or other == room or (FLOORS[other] == floor and floor in (1, 2))
            # Storage and records may know the errors: they share the ground floor.
            if not downward and not (floor == 0 and FLOORS[other] == 0):
                wrong.append(f"{path.name} (floor {floor}) imports {module} (floor {FLOORS[other]})")
            if floor == 3 and FLOORS[other] == 2:
                wrong.append(f"{path.name} (floor 3) imports {module}: runs and reports stand on floors 0 and 1")
            if floor >= 4 and at_once and other in ("models", "explanation") and module not in TORCH_FREE:
                wrong.append(f"{path.name} imports {module} at the top: it loads torch")
        elif top not in sys.stdlib_module_names and top not in LIBRARIES[floor]:
            wrong.append(f"{path.name} (floor {floor}) imports {top}")
        elif floor >= 4 and at_once and top in NETWORKS:
            wrong.append(f"{path.name} imports {top} at the top")
        if room == "cli" and top == "streamlit":
            wrong.append(f"{path.name} imports streamlit")
    return wrong


TORCH_FREE = {"covidxr.models", "covidxr.models.store", "covidxr.models.recipes", "covidxr.explanation"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_every_file_keeps_to_its_floor(path: Path) -> None:
    assert breaches(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("records.py", "import pandas"),
        ("data/dataset.py", "import torch"),
        ("data/dataset.py", "from covidxr.models import store"),
        ("evaluation/metrics.py", "def f():\n    import streamlit"),
        ("models/store.py", "from covidxr.runs.journal import RunFolder"),
        ("runs/journal.py", "from covidxr.models.store import list_models"),
        ("workflows.py", "import torch"),
        ("workflows.py", "from covidxr.models.training import fit"),
        ("cli.py", "from covidxr.app.frame import page"),
        ("cli.py", "def f():\n    import streamlit"),
    ],
)
def test_a_planted_breach_is_found(room: str, source: str) -> None:
    assert breaches(REPOSITORY / "covidxr" / room, source) != []


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_pages_are_layout(path: Path) -> None:
    for module, _ in imports(path.read_text("utf-8")):
        top, *rest = module.split(".")
        allowed = (
            rest[:1] and rest[0] in PAGE_ROOMS if top == "covidxr" else top in PAGE_LIBRARIES or top in sys.stdlib_module_names
        )
        assert allowed, f"{path.name} imports {module}"
    assert len(path.read_text("utf-8").splitlines()) <= 110


def test_what_the_pages_import_does_not_load_torch() -> None:
    modules = sorted(
        {m for path in PAGES for m, at_once in imports(path.read_text("utf-8")) if at_once and m.startswith("covidxr")}
    )
    code = "import importlib, sys\n" + "".join(
        f"importlib.import_module({m!r})\n" for m in [*modules, "covidxr.workflows", "covidxr.cli"]
    )
    code += "print(sorted({'torch', 'torchvision', 'captum', 'lightning_fabric'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "[]"
