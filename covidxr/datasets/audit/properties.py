"""Shortcut features: how well non-anatomical properties of the images predict the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.datasets.audit.facts import Facts
from covidxr.images.quality import Numbers
from covidxr.records import Labels, display_name


@dataclass(frozen=True, slots=True)
class Spurious:
    """How well one image property alone distinguishes a class from the others."""

    property: str
    class_name: str
    """The class that it distinguishes best; empty where the property is the same for all."""
    auroc: float
    """0.5 (chance level) to 1: the larger of a and 1 - a, as low values may mark a class, too."""
    by_class: dict[str, float]
    by_chance: bool
    """Whether it is not significantly better than chance."""
    sentence: str


def rank_properties(
    labels: Labels, facts: Facts, class_names: Sequence[str]
) -> tuple[Spurious, ...]:
    """Rank image properties by how well each alone predicts a class, best first.

    AUROC: U / (n1 n0) of Mann & Whitney 1947, each class against the rest. File formats and color
    modes have no order: they are ranked by the share of the class, which is the best any rule on
    them can do. Significance: two-sided U test at 5%, Bonferroni-corrected for all properties and
    classes.

    Args:
        labels: (N,) class indices, in the order of the facts. Classes without images are skipped.
        facts: Of N images.
        class_names: By index.
    """
    # Takes half a second to import, which every command would pay.
    from scipy.stats import mannwhitneyu

    present = [k for k in range(len(class_names)) if 0 < int((labels == k).sum()) < len(labels)]
    ranked = []
    for name, (values, more, less) in _properties(facts).items():
        by_class, best = {}, (0.5, 1.0, "", more)
        for k in present:
            member = labels == k
            score = (
                _by_share(values, member) if values.dtype.kind == "U" else values.astype(np.float64)
            )
            a, p = 0.5, 1.0
            if score.min() < score.max():
                u, p = mannwhitneyu(score[member], score[~member], method="asymptotic")
                a = float(u) / (int(member.sum()) * int((~member).sum()))
            by_class[class_names[k]] = max(a, 1 - a)
            own = (max(a, 1 - a), float(p), class_names[k], more if a >= 0.5 else less)
            best = max(best, own, key=lambda entry: entry[0])
        auroc, p, class_name, trait = best
        by_chance = p * len(present) * len(_properties(facts)) > 0.05
        sentence = _sentence(class_name, auroc, trait, by_chance)
        ranked.append(Spurious(name, class_name, auroc, by_class, by_chance, sentence))
    return tuple(sorted(ranked, key=lambda spurious: -spurious.auroc))


def _properties(facts: Facts) -> dict[str, tuple[npt.NDArray[np.generic], str, str]]:
    """Return {property: (values, what images with higher values have, with lower values)}."""
    other_format, other_mode = "a different file format", "a different color mode"
    return {
        "brightness": (facts.brightness, "higher brightness", "lower brightness"),
        "contrast": (facts.contrast, "higher contrast", "lower contrast"),
        "sharpness": (facts.sharpness, "higher sharpness", "lower sharpness"),
        "borders": (facts.border, "brighter borders", "darker borders"),
        "black": (facts.black, "more black pixels", "fewer black pixels"),
        "white": (facts.white, "more white pixels", "fewer white pixels"),
        "aspect_ratio": (
            facts.width / facts.height,
            "a wider aspect ratio",
            "a narrower aspect ratio",
        ),
        "size": (facts.width * facts.height, "more pixels", "fewer pixels"),
        "file_size": (facts.file_bytes, "larger files", "smaller files"),
        "writing": (facts.letters, "more burned-in text", "less burned-in text"),
        "format": (facts.format, other_format, other_format),
        "colours": (facts.mode, other_mode, other_mode),
    }


def _by_share(values: npt.NDArray[np.generic], member: npt.NDArray[np.bool_]) -> Numbers:
    """Replace each level of a categorical property by the share of the class at that level."""
    _, level = np.unique(values, return_inverse=True)
    shares = np.bincount(level, weights=member) / np.bincount(level)
    return np.asarray(shares[level], dtype=np.float64)


def _sentence(class_name: str, auroc: float, trait: str, by_chance: bool) -> str:
    if not class_name:
        return "Identical across classes."
    chance = ", which may be chance (small n)" * by_chance
    return f"{display_name(class_name)} images tend to have {trait} (AUROC {auroc:.2f}{chance})."
