"""Shortcut audit on planted shortcuts and hand-worked values."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from covidxr.errors import ConfigError
from covidxr.metrics.intervals import proportion_interval
from covidxr.metrics.shortcuts import (
    baseline_check,
    border_features,
    intensity_features,
    lungs_check,
    source_probe,
    within_source_checks,
)
from covidxr.records import CLASS_NAMES, Predictions


def images(n, size=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size), dtype=np.uint8)


def two_sources(n=300):
    """Predictions for Normal and one more class in rsna and kermany, COVID alone in elsewhere."""
    random = np.random.default_rng(0)
    classes = {"rsna": (0, 3), "kermany": (0, 2), "elsewhere": (1, 1)}
    sources = tuple(random.choice(list(classes), n).tolist())
    y_true = np.array(
        [
            classes[source][side]
            for source, side in zip(sources, random.integers(0, 2, n), strict=True)
        ]
    )
    powers = np.exp(random.normal(size=(n, 4)) + np.eye(4)[y_true])
    names = tuple(f"{i}.png" for i in random.permutation(n))
    return Predictions(
        CLASS_NAMES,
        names,
        ("test",) * n,
        y_true,
        powers / powers.sum(axis=1, keepdims=True),
        sources=sources,
    )


def rearranged(p, rows):
    """Return the samples of some rows; a repeated row becomes two samples."""
    names = tuple(
        p.samples[row] if len(rows) == len(p) else f"{p.samples[row]}#{i}"
        for i, row in enumerate(rows)
    )
    sources = tuple(p.sources[row] for row in rows)
    return Predictions(
        p.class_names,
        names,
        ("test",) * len(rows),
        p.y_true[rows],
        p.y_score[rows],
        sources=sources,
    )


def width(interval):
    return interval.high - interval.low


@pytest.mark.parametrize("size", [64, 128])
def test_the_border_is_the_outer_ring_in_blocks_and_nothing_else(size):
    pixels, ring = images(2, size), size // 16
    got = border_features(pixels)
    outer, steps = {*range(ring), *range(size - ring, size)}, range(0, size, 2)
    loop = [
        [p[r : r + 2, c : c + 2].mean() for r in steps for c in steps if r in outer or c in outer]
        for p in pixels
    ]
    assert got.dtype == np.float32
    assert np.array_equal(got, np.array(loop, np.float32))
    inside = pixels.copy()
    inside[:, ring:-ring, ring:-ring] ^= 255
    assert np.array_equal(border_features(inside), got)
    for r, c in (
        (0, 0),
        (ring - 1, 30),
        (size - ring, 30),
        (30, ring - 1),
        (30, size - ring),
        (size - 1, size - 1),
    ):
        changed = pixels.copy()
        changed[0, r, c] ^= 255
        assert (border_features(changed) != got).sum() == 1


def test_images_of_another_shape_or_type_are_rejected():
    with pytest.raises(ConfigError, match="divisible by 32 pixels, got 48"):
        border_features(images(1, 48))
    for wrong in (images(1)[0], images(1)[:, :32], images(1).astype(np.float32)):
        for features in (border_features, intensity_features):
            with pytest.raises(ConfigError, match=r"square images \(N, S, S\) of type uint8, got"):
                features(wrong)


def test_intensities_agree_with_numpy_and_scipy_wherever_a_pixel_is():
    pixels = np.concatenate(
        [images(2, 24) // 5, (images(2, 24, seed=1) / 255.0) ** 4 * 255]
    ).astype(np.uint8)
    pixels[0, :3] = 255
    flat = pixels.reshape(4, -1).astype(float)
    quantiles = np.percentile(flat, (1, 5, 25, 50, 75, 95, 99), axis=1)
    moments = (stats.skew(flat, axis=1), stats.kurtosis(flat, axis=1))
    got = intensity_features(pixels)
    assert got.dtype == np.float32
    assert np.allclose(
        got,
        np.column_stack(
            [flat.mean(1), flat.std(1), flat.min(1), flat.max(1), *quantiles, *moments]
        ),
        rtol=1e-5,
    )
    shuffled = (
        np.random.default_rng(1).permuted(pixels.reshape(4, -1), axis=1).reshape(pixels.shape)
    )
    assert np.array_equal(intensity_features(shuffled), got)


@pytest.mark.parametrize("gray", [0, 77, 255])
def test_a_uniform_image_has_finite_statistics(gray):
    assert intensity_features(np.full((1, 32, 32), gray, np.uint8)).tolist() == [
        [gray, 0, *[gray] * 9, 0, 0]
    ]


def test_a_planted_corner_reveals_the_class():
    labels, pixels = np.arange(240) % 2, images(240, 32) // 2
    pixels[labels == 1, :2, :2] += 127
    got = baseline_check(
        "border",
        border_features(pixels),
        labels,
        np.arange(160),
        np.arange(160, 240),
        ("a", "b"),
        replicates=50,
    )
    assert (got.kind, got.subject, got.n, got.reason) == ("border", "a vs b", 80, "")
    assert set(got.figures) == {"accuracy", "macro_f1", "a", "b"}
    assert min(figure.estimate for figure in got.figures.values()) > 0.97


@pytest.mark.slow
def test_random_labels_are_not_learned_and_test_rows_not_used():
    features, labels = (
        border_features(images(360, 32)),
        np.random.default_rng(0).integers(0, 2, 360),
    )
    train, test = np.arange(200), np.arange(200, 360)
    figures = baseline_check(
        "border", features, labels, train, test, ("a", "b"), replicates=200
    ).figures
    for figure in figures.values():
        assert figure.low < 0.5 < figure.high
    labels[test] = 1 - labels[test]
    opposite = baseline_check(
        "border", features, labels, train, test, ("a", "b"), replicates=2
    ).figures
    assert opposite["accuracy"].estimate == pytest.approx(1 - figures["accuracy"].estimate)
    assert opposite["a"].estimate == pytest.approx(1 - figures["a"].estimate)


@pytest.mark.slow
def test_baselines_are_seeded_and_groups_widen_them():
    labels = np.random.default_rng(3).integers(0, 2, 260)
    features = (labels[:, None] + np.random.default_rng(4).normal(size=(260, 2))).astype(np.float32)
    rows = np.concatenate(
        [np.arange(200), np.repeat(np.arange(200, 260), 5)]
    )  # each test sample five times
    given = (features[rows], labels[rows], np.arange(200), np.arange(200, 500), ("a", "b"))
    alone, again = (baseline_check("intensity", *given, replicates=200) for _ in range(2))
    assert alone == again
    grouped = baseline_check("intensity", *given, rows, replicates=200)
    for name, figure in alone.figures.items():
        assert grouped.figures[name].estimate == figure.estimate
        assert width(grouped.figures[name]) > 1.5 * width(figure)


def test_classes_without_images_have_no_metrics():
    labels, train, test = np.arange(60) % 2 * 2, np.arange(40), np.arange(40, 60)
    features = labels[:, None].astype(np.float32)
    got = baseline_check("border", features, labels, train, test, ("a", "b", "c"), replicates=2)
    assert {name: figure.estimate for name, figure in got.figures.items()} == {
        "accuracy": 1,
        "macro_f1": 1,
        "a": 1,
        "c": 1,
    }
    one = baseline_check("border", features, 0 * labels, train, test, ("a", "b"))
    assert (one.n, one.figures, one.reason) == (
        20,
        {},
        "all training images have the same class",
    )


def test_within_source_auroc_by_hand():
    # p_b / (p_a + p_b) of a: 0.25, 0.5 (both are 0), 0.8; of b: 0.5, 0.75, 0.9, which rank higher
    # in 1.5 + 2 + 3 of the 9 pairs.
    score = [
        [0.3, 0.6, 0.1],
        [0, 1, 0],
        [0.1, 0.5, 0.4],
        [0.5, 0, 0.5],
        [0.1, 0.6, 0.3],
        [0.05, 0.5, 0.45],
    ]
    p = Predictions(
        ("a", "x", "Lung_Opacity"),
        tuple("123456"),
        ("test",) * 6,
        np.array([0, 0, 0, 2, 2, 2]),
        np.array(score),
    )
    (got,) = within_source_checks(replace(p, sources=("rsna",) * 6))
    assert (got.kind, got.subject, got.n) == ("within-source", "rsna: a vs Lung_Opacity", 6)
    assert got.figures["auroc"].estimate == pytest.approx(6.5 / 9)
    assert (
        got.reason
        == "only 3 samples of a and only 3 samples of Lung opacity: the interval is too narrow"
    )
    (less,) = within_source_checks(replace(p, sources=("rsna",) * 5 + ("kermany",)))
    assert less.reason.startswith("only 3 samples of a and only 2 samples of Lung opacity:")


def test_every_source_and_pair_agrees_with_scikit_learn():
    p = two_sources()
    checks = within_source_checks(p, replicates=20)
    assert [c.subject for c in checks] == [
        "kermany: Normal vs Viral Pneumonia",
        "rsna: Normal vs Lung_Opacity",
        "COVID",
    ]
    for check, source, a, b in ((checks[0], "kermany", 0, 2), (checks[1], "rsna", 0, 3)):
        rows = (np.array(p.sources) == source) & np.isin(p.y_true, (a, b))
        share, auroc = (
            p.y_score[rows, b] / (p.y_score[rows, a] + p.y_score[rows, b]),
            check.figures["auroc"],
        )
        assert (check.n, check.reason) == (rows.sum(), "")
        assert auroc.estimate == pytest.approx(roc_auc_score(p.y_true[rows] == b, share))
        assert 0.5 < auroc.low < auroc.estimate < auroc.high < 1
    assert (checks[2].n, checks[2].figures) == ((p.y_true == 1).sum(), {})
    assert checks[2].reason == (
        "COVID-19 shares no source with another class, so class and source are confounded"
    )


def test_three_classes_of_one_source_make_three_pairs_and_an_unknown_source_none():
    p = replace(two_sources(60), y_true=np.arange(60) % 3)
    one, unknown = (
        within_source_checks(replace(p, sources=(name,) * 60), replicates=2)
        for name in ("x", "unknown")
    )
    assert [c.subject for c in one] == [
        "x: Normal vs COVID",
        "x: Normal vs Viral Pneumonia",
        "x: COVID vs Viral Pneumonia",
    ]
    assert [(c.subject, c.figures) for c in unknown] == [
        ("Normal", {}),
        ("COVID", {}),
        ("Viral Pneumonia", {}),
    ]
    (none,) = within_source_checks(replace(p, sources=None))
    assert (none.n, none.figures, none.reason) == (60, {}, "the dataset has no source information")


def test_results_depend_on_the_seed_but_not_on_sample_order_group_ids_or_other_splits():
    p, order = two_sources(), np.random.default_rng(1).permutation(300)
    shuffled = replace(rearranged(p, order), groups=order // 3 * 7919 % 1009)
    p = replace(p, groups=np.arange(300) // 3)
    checks = within_source_checks(p, replicates=30)
    assert within_source_checks(shuffled, replicates=30) == checks
    assert within_source_checks(p, replicates=30, seed=1)[0].figures != checks[0].figures
    mixed = replace(p, splits=("val",) * 100 + ("test",) * 200)
    assert within_source_checks(mixed, replicates=30) == within_source_checks(
        mixed.take("test"), replicates=30
    )
    assert sum(c.n for c in within_source_checks(mixed, "val", replicates=2)) == 100


def test_copies_in_one_group_are_not_more_evidence():
    once, rows = two_sources(200), np.repeat(np.arange(200), 6)
    copied = rearranged(once, rows)
    alone, naive, grouped = (
        within_source_checks(p)[1].figures["auroc"]
        for p in (once, copied, replace(copied, groups=rows))
    )
    assert width(grouped) == pytest.approx(width(alone), rel=0.15)
    assert width(grouped) > 2 * width(naive)
    few = within_source_checks(replace(copied, groups=rows // 40), replicates=10)[1].reason
    assert few.startswith("only 5 groups of Normal and only 5 groups of Lung opacity")


def probe_data(
    n, seed, edge=2.0, sources=("kermany", "rsna")
) -> tuple[npt.NDArray[np.float32], list[str]]:
    random = np.random.default_rng(seed)
    named, features = random.choice(sources, n), random.normal(size=(n, 20))
    features[:, 4] += edge * (named == "rsna")
    # No less informative once standardized.
    features[:, 4] /= 1000
    return (20 + features).astype(np.float32), named.tolist()


def test_a_probe_decodes_a_planted_source_and_not_a_random_one():
    fit, test = probe_data(400, 0), probe_data(300, 1)
    got = source_probe(*fit, *test, "Normal", replicates=200)
    assert (got.kind, got.subject, got.n, got.reason) == (
        "source-from-features",
        "kermany vs rsna within Normal",
        300,
        "",
    )
    # Two normal distributions, 2 apart.
    for name, best in (
        ("auroc", stats.norm.cdf(2 / np.sqrt(2))),
        ("accuracy", stats.norm.cdf(1)),
    ):
        assert got.figures[name].low < best < got.figures[name].high
    hits = round(got.figures["accuracy"].estimate * 300)
    assert got.figures["accuracy"] == proportion_interval(np.arange(300) < hits)
    assert source_probe(*fit, *test, "Normal", replicates=200) == got
    chance = source_probe(
        *probe_data(400, 0, edge=0), *probe_data(300, 1, edge=0), "Normal", replicates=200
    ).figures["auroc"]
    assert chance.low < 0.5 < chance.high


def test_a_probe_keeps_the_two_most_frequent_sources_and_counts_groups():
    fit = probe_data(600, 0, sources=("a", *["unknown"] * 4, *["rsna"] * 3, *["kermany"] * 2))
    features, named = probe_data(200, 1)
    alone = source_probe(*fit, features, named, "Lung_Opacity", replicates=200)
    assert alone.subject == "kermany vs rsna within Lung_Opacity"
    more = source_probe(
        *fit,
        np.tile(features, (2, 1)),
        [*named, *["a", "unknown"] * 100],
        "Lung_Opacity",
        replicates=200,
    )
    assert more == alone
    copies = (np.tile(features, (4, 1)), named * 4)
    naive, grouped = (
        source_probe(*fit, *copies, "Normal", ids, replicates=200).figures
        for ids in (None, np.tile(np.arange(200), 4))
    )
    assert all(width(grouped[name]) > 1.5 * width(naive[name]) for name in ("auroc", "accuracy"))
    assert (
        "only 4 groups of kermany"
        in source_probe(*fit, features, named, "Normal", np.arange(200) // 50, replicates=20).reason
    )


def test_a_probe_without_enough_images_has_a_reason():
    features, named = probe_data(60, 0)
    scarce = ["kermany"] * 9 + ["rsna"] * 51
    few = "kermany has only 9 {} images of Normal; 10 are required"
    alone = source_probe(features, ["rsna"] * 60, features, named, "Lung_Opacity")
    assert (alone.n, alone.figures) == (60, {})
    assert alone.reason == "Lung opacity has fewer than two known sources in training"
    for sources_fit, sources_test, split in ((scarce, named, "training"), (named, scarce, "test")):
        got = source_probe(features, sources_fit, features, sources_test, "Normal")
        assert (got.n, got.figures, got.reason) == (60, {}, few.format(split))
    none = source_probe(features, named, features[:0], [], "Normal")
    assert none.reason == "kermany has only 0 test images of Normal; 10 are required"


def test_masked_predictions_have_accuracy_and_lung_area():
    p = two_sources(60)
    got = lungs_check("lungs-only", p, np.full(60, 0.25), 2)
    assert got.figures["accuracy"].estimate == pytest.approx((p.y_pred == p.y_true).mean())
    assert got.figures["lung_area"].estimate == pytest.approx(0.25)
    assert (got.n, got.reason) == (60, "2 images without detected lungs excluded")
    assert lungs_check("lungs-only", p, np.full(60, 0.25), 0).reason == ""


def test_importing_the_audit_does_not_load_scikit_learn():
    code = "import sys, covidxr.metrics.shortcuts; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
