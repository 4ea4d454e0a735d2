"""The rules of the architecture: layers, no cycles, torch and streamlit only where they belong."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LAYERS = (
    {"cli", "app"},
    {"runs"},
    {"evaluation"},
    {"prediction"},
    {"reports"},
    {"explanation", "ood"},
    {"figures", "lungs"},
    {"metrics", "datasets", "models"},
    {"images"},
    {"cards"},
    {"storage", "records", "config", "formatting"},
    {"errors"},
)
"""From the top down: a package imports only packages below it, and none beside it."""
TOGETHER = {"storage", "records", "config", "formatting"}
"""Modules of the base that may import one another, without a cycle."""
FACADE = {"__init__", "__main__"}
WITHOUT_TORCH = {"cards", "storage", "records", "config", "formatting", "errors"}
WITHOUT_TORCH |= {"images", "metrics", "datasets", "figures"}
NETWORKS = {"torch", "torchvision", "captum", "lightning_fabric", "monai", "safetensors"}
PAGES = [REPOSITORY / "streamlit_app.py", *sorted((REPOSITORY / "covidxr/app/pages").glob("*.py"))]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


@pytest.fixture(scope="session")
def graph() -> grimp.ImportGraph:
    """Every import of the package, those inside functions too, but for type hints."""
    return grimp.build_graph(
        "covidxr", include_external_packages=True, exclude_type_checking_imports=True
    )


def package(module: str) -> str:
    """The first name below covidxr, such as `images`; `__init__` for the package itself."""
    return [*module.split("."), "__init__"][1]


def page_folder(module: str) -> str:
    """The folder of a page below covidxr.app, or nothing for what the pages share."""
    path = REPOSITORY.joinpath(*module.split(".")[:3])
    shared = {"lightbox"}
    own = module.startswith("covidxr.app.") and path.is_dir() and path.name not in shared
    return path.name if own else ""


def breaches(graph: grimp.ImportGraph) -> list[str]:
    """Every import that breaks a rule, in words."""
    wrong = []
    for module in sorted(graph.modules):
        own = package(module)
        if not module.startswith("covidxr") or own in FACADE:
            continue
        for other in sorted(graph.find_modules_directly_imported_by(module)):
            there = package(other) if other.startswith("covidxr") else other
            if other.startswith("covidxr"):
                # The version stands in covidxr/__init__, whose other names are lazy.
                allowed = there in (own, "__init__") or LEVEL[own] < LEVEL[there]
                allowed |= {own, there} <= TOGETHER
                pages = page_folder(module), page_folder(other)
                allowed &= not pages[1] or pages[0] == pages[1] or pages[0] == "pages"
            else:
                allowed = not (there in NETWORKS and own in WITHOUT_TORCH)
                allowed &= there != "streamlit" or own == "app"
            if not allowed:
                wrong.append(f"{module} imports {other}")
    return wrong


def cycles(graph: grimp.ImportGraph) -> list[set[str]]:
    """Groups of files that import one another, directly or not (Tarjan's components)."""
    import networkx

    arrows = networkx.DiGraph()
    for module in graph.modules:
        if module.startswith("covidxr"):
            for other in graph.find_modules_directly_imported_by(module):
                if other.startswith("covidxr") and other != "covidxr":
                    arrows.add_edge(module, other)
    return [group for group in networkx.strongly_connected_components(arrows) if len(group) > 1]


def test_packages_import_only_what_is_below_them(graph: grimp.ImportGraph) -> None:
    assert breaches(graph) == []


def test_no_files_import_one_another(graph: grimp.ImportGraph) -> None:
    assert cycles(graph) == []


def test_every_package_has_a_layer(graph: grimp.ImportGraph) -> None:
    names = {package(module) for module in graph.modules if module.startswith("covidxr")}
    assert names <= set(LEVEL) | FACADE
    assert set(LEVEL) <= names


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("covidxr.images.reading", "covidxr.datasets.dataset"),
        ("covidxr.datasets.splits", "covidxr.metrics.intervals"),
        ("covidxr.metrics.intervals", "torch"),
        ("covidxr.cli", "covidxr.app.frame"),
        ("covidxr.prediction.cases", "streamlit"),
        ("covidxr.app.predict.result", "covidxr.app.evaluate.sections"),
    ],
)
def test_a_planted_breach_is_found(graph: grimp.ImportGraph, module: str, other: str) -> None:
    import copy

    planted = copy.deepcopy(graph)
    planted.add_import(importer=module, imported=other)
    assert set(breaches(planted)) - set(breaches(graph)) == {f"{module} imports {other}"}


def test_a_planted_cycle_is_found(graph: grimp.ImportGraph) -> None:
    import copy

    planted = copy.deepcopy(graph)
    planted.add_import(importer="covidxr.records", imported="covidxr.storage")
    planted.add_import(importer="covidxr.storage", imported="covidxr.records")
    assert cycles(planted) == [{"covidxr.records", "covidxr.storage"}]
