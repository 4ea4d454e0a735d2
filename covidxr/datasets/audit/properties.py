"""What tells the classes of a dataset apart without showing the disease: properties of the pictures, and how well each predicts."""

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
    """How well one property of the pictures tells a class from the others, without anything the pictures show."""

    property: str
    class_name: str
    """The class that it tells best."""
    auroc: float
    """0.5 (tells nothing) to 1: the larger of a and 1 - a, so that low values may tell a class as well as high ones."""
    by_class: dict[str, float]
    by_chance: bool
    """Whether an unrelated property could do as well on so few pictures."""
    sentence: str


def rank_properties(
    labels: Labels, facts: Facts, class_names: Sequence[str]
) -> tuple[Spurious, ...]:
    """Return how well each property of the pictures alone predicts a class, the most telling first.

    labels: (N,) class indices, in the order of the facts. Classes without pictures are passed over.
    AUROC: U / (n1 n0) of Mann & Whitney 1947, each class against the rest. Formats and colour modes have no order: they are taken
    in the order of the class's share, which is the best that any rule on them could do. Chance is what the two-sided U test with
    Bonferroni's correction for all properties and classes cannot rule out at 5 %.
    """
    from scipy.stats import (
        mannwhitneyu,  # imported late: it costs half a second and every command would pay it
    )

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
            best = max(
                best,
                (max(a, 1 - a), float(p), class_names[k], more if a >= 0.5 else less),
                key=lambda entry: entry[0],
            )
        auroc, p, class_name, how = best
        by_chance = p * len(present) * len(_properties(facts)) > 0.05
        ranked.append(
            Spurious(
                name,
                class_name,
                auroc,
                by_class,
                by_chance,
                _sentence(class_name, auroc, how, by_chance),
            )
        )
    return tuple(sorted(ranked, key=lambda spurious: -spurious.auroc))


def _properties(facts: Facts) -> dict[str, tuple[npt.NDArray[np.generic], str, str]]:
    """Return {property: (its values, what pictures with more of it are, with less of it)}."""
    return {
        "brightness": (facts.brightness, "brighter", "darker"),
        "contrast": (facts.contrast, "richer in contrast", "poorer in contrast"),
        "sharpness": (facts.sharpness, "sharper", "softer"),
        "borders": (facts.border, "brighter at the border", "darker at the border"),
        "black": (facts.black, "richer in black", "poorer in black"),
        "white": (facts.white, "richer in white", "poorer in white"),
        "aspect_ratio": (
            facts.width / facts.height,
            "wider for their height",
            "narrower for their height",
        ),
        "size": (facts.width * facts.height, "larger in pixels", "smaller in pixels"),
        "file_size": (facts.file_bytes, "larger as files", "smaller as files"),
        "writing": (facts.letters, "more often written on", "less often written on"),
        "format": (facts.format, "stored in another format", "stored in another format"),
        "colours": (facts.mode, "stored with other colours", "stored with other colours"),
    }


def _by_share(values: npt.NDArray[np.generic], member: npt.NDArray[np.bool_]) -> Numbers:
    """Replace each level of a categorical property by the share of the class among the pictures that have it."""
    _, level = np.unique(values, return_inverse=True)
    shares = np.bincount(level, weights=member) / np.bincount(level)
    return np.asarray(shares[level], dtype=np.float64)


def _sentence(class_name: str, auroc: float, how: str, by_chance: bool) -> str:
    if not class_name:
        return "It is the same for every class, so it gives none away."
    tells = f"{display_name(class_name)} pictures tend to be {how} than the rest"
    rate = f"of one of them and one other, this alone picks the right one {auroc * 100:.0f} times in 100 (chance: 50)"
    return f"{tells}: {rate}" + (
        ", which so few pictures may show by chance." if by_chance else "."
    )
