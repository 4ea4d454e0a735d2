"""Write the measured tables of README.md and docs/results.md from the cards in weights/.

Run `make results` after any change of a card. A table stands between `<!-- measured: NAME -->` and
`<!-- end -->`; the tests compare both files with what this module would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from covidxr.cards import METHOD_TITLES, ModelCard
from covidxr.evaluation import protocols
from covidxr.explanation.localization import best_localization
from covidxr.formatting import decimal, percent
from covidxr.models import store
from covidxr.models.recipes import RECIPES, STUDY_ACCURACY
from covidxr.records import Interval, display_name
from covidxr.storage import from_json

REPOSITORY = Path(__file__).resolve().parents[1]
WEIGHTS = REPOSITORY / "weights"
FILES = ("README.md", "docs/results.md")
BASELINES = {
    "border": "baseline: outer 6% frame only",
    "intensity": "baseline: brightness statistics only",
}
WITHIN_SOURCE = (
    "kermany: Normal vs Viral Pneumonia",
    "rsna: Normal vs Lung_Opacity",
    "kermany vs rsna within Normal",
)
_BLOCK = re.compile(r"(<!-- measured: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def cards() -> Iterator[tuple[str, ModelCard]]:
    """Yield every shipped model's id and card, in the order of the recipes."""
    for model_id in RECIPES:
        yield model_id, store.read_card(WEIGHTS / model_id)


def share(interval: Interval) -> str:
    """Write a proportion for a table whose caption says what the interval is."""
    return percent(interval, brief=True)


def value(interval: Interval) -> str:
    """Write a value that is no percentage, such as an AUROC, in the same way."""
    return decimal(interval, brief=True)


def difference(interval: Interval) -> str:
    """Write a difference in percentage points: `+19.7 (+7.6 to +31.8)`."""
    estimate, low, high = (
        f"{x * 100:+.1f}" for x in (interval.estimate, interval.low, interval.high)
    )
    return f"{estimate} ({low} to {high})"


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table whose first column is aligned left and all others right."""
    lines = [columns, ("---", *("---:" for _ in columns[1:])), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _baselines() -> Iterator[tuple[str, Interval, Interval]]:
    checks = store.read_card(WEIGHTS / "covidxr-resnet18").shortcuts
    for kind, title in BASELINES.items():
        figures = next(check.figures for check in checks if check.kind == kind)
        yield f"*{title}*", figures["accuracy"], figures["macro_f1"]


def _aurocs(card: ModelCard) -> tuple[str, ...]:
    checks = {check.subject: check for check in card.shortcuts if check.figures}
    return tuple(value(checks[subject].figures["auroc"]) for subject in WITHIN_SOURCE)


def summary() -> str:
    """The README's table: in-collection accuracy beside what a model without any lung reaches."""
    rows = [
        (f"`{model_id}`", share(card.metrics["accuracy"]), _aurocs(card)[1])
        for model_id, card in cards()
    ]
    rows += [(title, share(accuracy), "") for title, accuracy, _ in _baselines()]
    columns = "model", "in-collection accuracy", "Normal vs. Lung opacity, one source, AUROC"
    return table(columns, rows)


def performance() -> str:
    """Accuracy, macro-F1 and calibration on the test split."""
    rows = []
    for model_id, card in cards():
        study = STUDY_ACCURACY.get(model_id)
        rows.append(
            (
                f"`{model_id}`",
                "" if study is None else f"{study * 100:.1f}%",
                share(card.metrics["accuracy"]),
                share(card.metrics["macro_f1"]),
                value(card.metrics["ece"]),
                f"{card.best_epoch} of {card.recipe.epochs}",
            )
        )
    rows += [(title, "", share(a), share(f1), "", "") for title, a, f1 in _baselines()]
    columns = "model", "baseline study (other data)", "accuracy", "macro-F1", "ECE", "best epoch"
    return table(columns, rows)


def within_source() -> str:
    """AUROC within one source, and of the source predicted from the model's features."""
    columns = (
        "model",
        "Normal vs. Viral pneumonia, within one source",
        "Normal vs. Lung opacity, within one source",
        "source predicted from features",
    )
    return table(columns, [(f"`{model_id}`", *_aurocs(card)) for model_id, card in cards()])


def lungs() -> str:
    """Accuracy with the lungs blackened, and with everything but the lungs blackened."""
    rows = []
    for model_id, card in cards():
        whole = share(card.metrics["accuracy"])
        checks = {
            check.kind: share(check.figures["accuracy"])
            for check in card.shortcuts
            if check.kind.startswith("lungs-")
        }
        found = (
            (whole, checks["lungs-blackened"], checks["lungs-only"]) if checks else ("", "", whole)
        )
        rows.append((f"`{model_id}`", *found))
    return table(("model", "whole image", "lungs blackened", "lungs only"), rows)


def prediction_sets() -> str:
    """Coverage and size of the prediction sets on the test split."""
    rows = []
    for model_id, card in cards():
        sets = card.prediction_sets
        assert sets is not None
        worst = min(sets.by_class, key=lambda name: sets.by_class[name].covered.estimate)
        size = sets.overall.size
        rows.append(
            (
                f"`{model_id}`",
                share(sets.overall.covered),
                f"{display_name(worst)}: {share(sets.by_class[worst].covered)}",
                f"{size.estimate:.2f} ({size.low:.2f}–{size.high:.2f})",
                share(sets.overall.empty),
            )
        )
    return table(
        ("model", "coverage", "lowest class coverage", "mean set size", "empty sets"), rows
    )


def input_check() -> str:
    """The OOD detector: rejected test images, AUROC against foreign images, altered radiographs."""
    rows = []
    for model_id, card in cards():
        detector = card.gate
        assert detector is not None
        passed = [
            f"{round(n * (1 - rejected.estimate))} of {n} ({kind})"
            for kind, (n, rejected) in detector.foreign.items()
            if rejected.estimate < 1
        ]
        altered = (str(round(n * rejected.estimate)) for n, rejected in detector.altered.values())
        rows.append(
            (
                f"`{model_id}`",
                share(detector.refused),
                value(detector.auroc),
                ", ".join(passed) or "none",
                *altered,
            )
        )
    columns = (
        "model",
        "rejected test images",
        "AUROC, OOD vs. test",
        "OOD images accepted",
        "inverted",
        "upside down",
        "rotated 90°",
        "quarter crop",
    )
    return table(columns, rows)


def heat_maps() -> str:
    """Where the heat maps point, beside the fixed-point baseline."""
    rows = []
    for model_id, card in cards():
        best = best_localization(card)
        assert best is not None
        assert best.settings is not None
        fixed = next(one for one in card.localisation if one.rival == "constant")
        title, layer = METHOD_TITLES[best.settings.method], best.settings.layer
        in_lungs = next(
            one
            for one in card.lung_shares
            if one.settings == best.settings and one.target == best.target
        )
        rows.append(
            (
                f"`{model_id}`",
                f"{title}, {layer}" if layer else title,
                str(best.test.n),
                share(best.test.hits),
                share(fixed.test.hits),
                difference(best.test.gain),
                share(in_lungs.inside),
                share(in_lungs.lungs),
            )
        )
    columns = (
        "model",
        "method",
        "n",
        "hit rate",
        "fixed-point baseline",
        "difference, points",
        "heat map within lungs",
        "lung area",
    )
    return table(columns, rows)


def segmenter() -> str:
    """Dice of the lung segmenter on its test images."""
    card = store.read_segmenter_card(WEIGHTS)
    counts = {name: n for name, n in card.mask_counts["test"].items() if n}
    rows = [("all", share(card.metrics["dice"]), f"{sum(counts.values())}")]
    rows += [
        (display_name(name), share(card.metrics[f"dice {name}"]), f"{n}")
        for name, n in counts.items()
    ]
    return table(("test images", "Dice", "n"), rows)


def split_effect() -> str:
    """Accuracy of one recipe under both split protocols, and with and without leakage."""
    text = (WEIGHTS / protocols.FILE).read_text("utf-8")
    effect = from_json(protocols.ProtocolEffect, text, protocols.FILE)
    rows = [
        ("grouped split", effect.grouped),
        ("random split", effect.stratified),
        ("random split, leaked images", effect.leaked),
        ("random split, non-leaked images", effect.clean),
    ]
    columns = "test images", "accuracy", "n"
    return table(columns, [(title, share(one.accuracy), f"{one.n:,}") for title, one in rows])


BLOCKS = {
    "summary": summary,
    "performance": performance,
    "within-source": within_source,
    "lungs": lungs,
    "prediction-sets": prediction_sets,
    "input-check": input_check,
    "heat-maps": heat_maps,
    "segmenter": segmenter,
    "split-effect": split_effect,
}


def filled(text: str) -> str:
    """Return a document with every measured table written anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[3]}", text)


if __name__ == "__main__":
    for name in FILES:
        path = REPOSITORY / name
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
