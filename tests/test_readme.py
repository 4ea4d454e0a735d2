"""What the README claims is what the cards hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.figures import percent
from covidxr.models import store
from covidxr.models.recipes import RECIPES, STUDY_ACCURACY

REPOSITORY = Path(__file__).resolve().parents[1]


def row(model_id: str) -> str:
    """The README's table row of a model."""
    card = store.read_card(REPOSITORY / "weights" / model_id)
    study = f"{STUDY_ACCURACY[model_id] * 100:.1f} %" if model_id in STUDY_ACCURACY else ""
    accuracy, macro_f1, ece = (percent(card.metrics[name]) for name in ("accuracy", "macro_f1", "ece"))
    return f"| `{model_id}` | {study} | {accuracy} | {macro_f1} | {ece} | {card.best_epoch} of {card.recipe.epochs} |"


def baseline_row(kind: str, title: str) -> str:
    """The same table's row of a baseline that sees nothing of the lungs."""
    check = next(check for check in store.read_card(REPOSITORY / "weights" / "covidxr-resnet18").shortcuts if check.kind == kind)
    return f"| *{title}* |  | {percent(check.figures['accuracy'])} | {percent(check.figures['macro_f1'])} |  |  |"


def shortcut_row(model_id: str) -> str:
    """A model's row of the table of shortcuts."""
    checks = {check.subject: check for check in store.read_card(REPOSITORY / "weights" / model_id).shortcuts if check.figures}
    subjects = ("kermany: Normal vs Viral Pneumonia", "rsna: Normal vs Lung_Opacity", "kermany vs rsna within Normal")
    return f"| `{model_id}` | " + " | ".join(percent(checks[subject].figures["auroc"]) for subject in subjects) + " |"


BASELINES = {"border": "sees only the frame", "intensity": "sees only brightness statistics"}


def test_the_tables_hold_what_the_audit_found() -> None:
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert all(baseline_row(kind, title) in readme for kind, title in BASELINES.items())
    assert all(shortcut_row(model_id) in readme for model_id in RECIPES)


@pytest.mark.parametrize("model_id", RECIPES)
def test_the_table_holds_the_measured_figures(model_id: str) -> None:
    assert row(model_id) in (REPOSITORY / "README.md").read_text("utf-8")


def test_every_link_and_picture_is_there() -> None:
    import re

    for target in re.findall(r"\]\(([^)#]+)\)", (REPOSITORY / "README.md").read_text("utf-8")):
        assert target.startswith("https://") or (REPOSITORY / target).exists(), target
