"""Colors and names against hand-worked values."""

import numpy as np
import pytest

from covidxr.cards import EpochMetrics
from covidxr.figures import (
    CLASS_COLORS,
    MODEL_COLORS,
    MODEL_DASHES,
    Curve,
    confusion_figure,
    confusion_grid,
    difference_figure,
    learning_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
    threshold_figure,
)
from covidxr.figures.style import NEUTRAL, contrast, luminance, mixed, rgb, wrapped
from covidxr.metrics.calibration import ReliabilityCurve
from covidxr.records import Interval

INK = "#123456"
TWO = [[18, 2], [1, 3]]
NAMES = ("Normal", "COVID")
GROUNDS = ("#101418", "#0B0D0F", "#16191D", "#FFFFFF", "#FCFCFB")


def test_contrast_agrees_with_the_wcag():
    assert contrast(rgb("#000000"), rgb("#FFFFFF")) == pytest.approx(21.0)
    # The guideline's example of a gray that just passes 4.5:1 on white.
    assert contrast(rgb("#767676"), rgb("#FFFFFF")) == pytest.approx(4.54, abs=0.005)
    assert contrast(rgb("#767676"), rgb("#767676")) == 1.0
    assert luminance(rgb("#FF0000")) == pytest.approx(0.2126)
    assert luminance(rgb("#0A0A0A")) == pytest.approx(10 / 255 / 12.92)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("color", [*MODEL_COLORS, NEUTRAL])
def test_lines_have_contrast_in_both_themes(color, ground):
    assert contrast(rgb(color), rgb(ground)) >= 3.0


# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB: no red, green or blue cones.
BLINDNESS = {
    "normal": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritan": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(color, seen=BLINDNESS["normal"]):
    share = rgb(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(XYZ @ np.clip(seen @ linear, 0, 1) / [0.95047, 1, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", BLINDNESS.values(), ids=BLINDNESS.keys())
def test_model_colors_are_color_blind_safe(seen):
    # About 2.3 is a just noticeable difference.
    for i, one in enumerate(MODEL_COLORS):
        for other in MODEL_COLORS[i + 1 :]:
            assert np.linalg.norm(lab(one, seen) - lab(other, seen)) > 15


def test_model_colors_differ_from_class_colors():
    assert (
        min(np.linalg.norm(lab(m) - lab(c)) for m in MODEL_COLORS for c in CLASS_COLORS.values())
        > 20
    )


def test_model_colors_and_dashes_are_unique():
    assert (
        len(set(MODEL_COLORS))
        == len(MODEL_COLORS)
        == len(set(MODEL_DASHES))
        == len(MODEL_DASHES)
        == 5
    )


def test_a_color_between_two_stops_is_their_mean():
    assert mixed(("#000000", "#FF0000", "#FF00FF"), 0.25).tolist() == [127.5, 0, 0]
    assert mixed(("#000000", "#FF0000", "#FF00FF"), 1.0).tolist() == [255, 0, 255]


@pytest.mark.parametrize(
    ("name", "width", "lines"),
    [
        ("poster-cnn", 16, "poster-cnn"),
        ("poster-resnet18-pretrained", 16, "poster-resnet18-<br>pretrained"),
        ("poster-resnet18-pretrained", 26, "poster-resnet18-pretrained"),
        ("averyveryverylongname-a", 16, "averyveryverylongname-<br>a"),
    ],
)
def test_long_names_break_at_their_hyphens(name, width, lines):
    assert wrapped(name, width) == lines


def every_figure():
    curve = Curve("COVID", np.array([0.0, 1.0]), np.array([0.0, 1.0]), "#D55E00", "AUROC 0.5")
    bins = ReliabilityCurve((0.1,), (Interval(0.2, 0.1, 0.3),), (12,))
    scores = np.array([0.1, 0.7])
    return {
        "confusion": confusion_figure(TWO, NAMES, selected=(0, 0), ink=INK),
        "grid": confusion_grid(dict.fromkeys("abcde", TWO), NAMES, INK),
        "difference": difference_figure(TWO, TWO, "a", "b", NAMES, INK),
        "roc": roc_figure([curve], INK),
        "precision_recall": precision_recall_figure([curve], INK),
        "reliability": reliability_figure(bins, bins, "COVID", INK),
        "learning": learning_figure({"a": [EpochMetrics(1, 1.0, 0.5, 1.0, 0.5, 0.5)]}, "loss", INK),
        "threshold": threshold_figure(scores, scores, 0.5, "COVID", INK),
    }


@pytest.mark.parametrize("name", every_figure())
def test_all_text_has_the_ink_color_on_the_background(name):
    layout = every_figure()[name].layout
    assert layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert layout.paper_bgcolor in GROUNDS
    assert layout.height >= 300
    axes = [layout[key] for key in layout if key.startswith(("xaxis", "yaxis"))]
    assert len(axes) >= 2
    inks = {layout.font.color, layout.legend.font.color}
    inks |= {color for axis in axes for color in (axis.tickfont.color, axis.title.font.color)}
    cells = {"#0B0D0F", "#FFFFFF"} if name in ("confusion", "grid", "difference") else set()
    inks |= {note.font.color for note in layout.annotations} - cells
    bars = (
        [layout.coloraxis.colorbar]
        if name == "grid"
        else [every_figure()[name].data[0].colorbar]
        if name == "difference"
        else []
    )
    inks |= {color for bar in bars for color in (bar.tickfont.color, bar.title.font.color)}
    assert inks == {INK}
    # Only the two charts with a crowded corner can be zoomed.
    assert {axis.fixedrange for axis in axes} == {name not in ("roc", "precision_recall")}
