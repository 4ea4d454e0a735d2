"""What the README claims is what the cards hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidxr.cards import METHOD_TITLES
from covidxr.explanation.localization import best_localisation
from covidxr.formatting import percent, points
from covidxr.models import store
from covidxr.models.recipes import RECIPES, STUDY_ACCURACY
from covidxr.records import display_name

REPOSITORY = Path(__file__).resolve().parents[1]


def row(model_id: str) -> str:
    """The README's table row of a model."""
    card = store.read_card(REPOSITORY / "weights" / model_id)
    study = f"{STUDY_ACCURACY[model_id] * 100:.1f} %" if model_id in STUDY_ACCURACY else ""
    accuracy, macro_f1, ece = (
        percent(card.metrics[name]) for name in ("accuracy", "macro_f1", "ece")
    )
    return f"| `{model_id}` | {study} | {accuracy} | {macro_f1} | {ece} | {card.best_epoch} of {card.recipe.epochs} |"


def baseline_row(kind: str, title: str) -> str:
    """The same table's row of a baseline that sees nothing of the lungs."""
    check = next(
        check
        for check in store.read_card(REPOSITORY / "weights" / "covidxr-resnet18").shortcuts
        if check.kind == kind
    )
    return f"| *{title}* |  | {percent(check.figures['accuracy'])} | {percent(check.figures['macro_f1'])} |  |  |"


def shortcut_row(model_id: str) -> str:
    """A model's row of the table of shortcuts."""
    checks = {
        check.subject: check
        for check in store.read_card(REPOSITORY / "weights" / model_id).shortcuts
        if check.figures
    }
    subjects = (
        "kermany: Normal vs Viral Pneumonia",
        "rsna: Normal vs Lung_Opacity",
        "kermany vs rsna within Normal",
    )
    return (
        f"| `{model_id}` | "
        + " | ".join(percent(checks[subject].figures["auroc"]) for subject in subjects)
        + " |"
    )


def lungs_row(model_id: str) -> str:
    """A model's row of the table of what is left without the lungs, and of the lungs alone."""
    card = store.read_card(REPOSITORY / "weights" / model_id)
    checks = {
        check.kind: percent(check.figures["accuracy"])
        for check in card.shortcuts
        if check.kind.startswith("lungs-")
    }
    whole = percent(card.metrics["accuracy"])
    if not checks:
        return f"| `{model_id}` | | | {whole} |"
    return f"| `{model_id}` | {whole} | {checks['lungs-blackened']} | {checks['lungs-only']} |"


def map_row(model_id: str) -> str:
    """A model's row of the table of heat maps: the kind that serves, and where it points."""
    card = store.read_card(REPOSITORY / "weights" / model_id)
    best = best_localisation(card)
    assert best is not None
    assert best.settings is not None
    same_spot = next(one for one in card.localisation if one.rival == "constant")
    title = METHOD_TITLES[best.settings.method] + (
        f" of {best.settings.layer}" if best.settings.layer else ""
    )
    hits, spot, gain = percent(best.test.hits), percent(same_spot.test.hits), points(best.test.gain)
    shares = {one.target: one for one in card.lung_shares if one.settings == best.settings}
    inside = shares[best.target]
    share = f"{percent(inside.inside)} | {percent(inside.lungs)}"
    return f"| `{model_id}` | {title} | {best.test.n} | {hits} | {spot} | {gain} | {share} |"


def set_row(model_id: str) -> str:
    """A model's row of the table of prediction sets."""
    sets = store.read_card(REPOSITORY / "weights" / model_id).prediction_sets
    assert sets is not None
    worst = min(sets.by_class, key=lambda name: sets.by_class[name].covered.estimate)
    least, size = percent(sets.by_class[worst].covered), sets.overall.size
    classes = f"{size.estimate:.2f} ({size.low:.2f}-{size.high:.2f})"
    held, empty = percent(sets.overall.covered), percent(sets.overall.empty)
    return f"| `{model_id}` | {held} | {display_name(worst)} {least} | {classes} | {empty} |"


def gate_row(model_id: str) -> str:
    """A model's row of the table of gates."""
    gate = store.read_card(REPOSITORY / "weights" / model_id).gate
    assert gate is not None
    missed = {
        kind: (n, share.estimate) for kind, (n, share) in gate.foreign.items() if share.estimate < 1
    }
    told = (
        ", ".join(f"{round(n * (1 - share))} of {n}, {kind}" for kind, (n, share) in missed.items())
        or "none"
    )
    altered = " | ".join(f"{round(n * share.estimate)}" for n, share in gate.altered.values())
    return (
        f"| `{model_id}` | {percent(gate.refused)} | {percent(gate.auroc)} | {told} | {altered} |"
    )


BASELINES = {"border": "sees only the frame", "intensity": "sees only brightness statistics"}


def test_the_tables_hold_what_the_audit_found() -> None:
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert all(baseline_row(kind, title) in readme for kind, title in BASELINES.items())
    assert all(shortcut_row(model_id) in readme for model_id in RECIPES)
    assert all(lungs_row(model_id) in readme for model_id in RECIPES)
    assert all(map_row(model_id) in readme for model_id in RECIPES)
    assert all(set_row(model_id) in readme for model_id in RECIPES)
    assert all(gate_row(model_id) in readme for model_id in RECIPES)


@pytest.mark.parametrize("model_id", RECIPES)
def test_the_table_holds_the_measured_figures(model_id: str) -> None:
    assert row(model_id) in (REPOSITORY / "README.md").read_text("utf-8")


def test_every_link_and_picture_is_there() -> None:
    import re

    for target in re.findall(r"\]\(([^)#]+)\)", (REPOSITORY / "README.md").read_text("utf-8")):
        assert target.startswith("https://") or (REPOSITORY / target).exists(), target
