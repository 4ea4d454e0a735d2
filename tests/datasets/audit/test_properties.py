"""Planted shortcut features must rank first, with the right AUROC."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from covidxr.datasets.audit.facts import Facts
from covidxr.datasets.audit.properties import rank_properties
from covidxr.records import CLASS_NAMES


def some_facts(n: int, **columns: object) -> Facts:
    rng = np.random.default_rng(0)
    numbers = {name: rng.normal(size=n) for name in Facts.__dataclass_fields__}
    texts = {
        "files": [f"{i}.png" for i in range(n)],
        "format": ["PNG"] * n,
        "mode": ["L"] * n,
        "pixel_hash": ["a"] * n,
    }
    sizes = {"width": np.full(n, 200), "height": np.full(n, 100), "file_bytes": np.full(n, 9)}
    given = numbers | {k: np.array(v) for k, v in (texts | sizes | columns).items()}
    return Facts(**given)


def test_planted_properties_rank_first_with_the_auroc_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 400)
    brightness = rng.normal(size=400) - 2.0 * (labels == 1)  # COVID is darker
    # Lung_Opacity is larger.
    bytes_ = (1000 + 300 * rng.normal(size=400) + 300 * (labels == 3)).round().astype(int)
    ranked = rank_properties(
        labels, some_facts(400, brightness=brightness, file_bytes=bytes_), CLASS_NAMES
    )
    assert [(s.property, s.class_name) for s in ranked[:2]] == [
        ("brightness", "COVID"),
        ("file_size", "Lung_Opacity"),
    ]
    for spurious, values in zip(ranked[:2], (brightness, bytes_), strict=True):
        for k, name in enumerate(CLASS_NAMES):
            expected = roc_auc_score(labels == k, values)
            assert spurious.by_class[name] == pytest.approx(max(expected, 1 - expected))
        assert spurious.auroc == max(spurious.by_class.values())
    sentence = f"COVID-19 images tend to have lower brightness (AUROC {ranked[0].auroc:.2f})."
    assert ranked[0].sentence == sentence
    assert [s.by_chance for s in ranked[:2]] == [False, False]
    assert all(s.by_chance for s in ranked[2:])
    assert [s.auroc for s in ranked] == sorted((s.auroc for s in ranked), reverse=True)
    same = {s.property: s for s in ranked}["size"]
    assert (same.auroc, same.class_name) == (0.5, "")
    assert same.sentence == "Identical across classes."


def test_the_auroc_of_ties_and_formats_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    letters = np.array([0, 0, 1, 0, 1, 1])  # 9 pairs: 4 right, 4 ties, 1 wrong
    ranked = rank_properties(
        labels,
        some_facts(6, letters=letters, format=["PNG", "PNG", "JPEG", "TIFF", "TIFF", "JPEG"]),
        ("a", "b", "never seen"),
    )
    found = {s.property: s for s in ranked}
    assert found["writing"].by_class == pytest.approx({"a": 6 / 9, "b": 6 / 9})
    # Only JPEG against JPEG is a tie.
    assert found["format"].by_class == pytest.approx({"a": 8.5 / 9, "b": 8.5 / 9})
