"""ROC and precision-recall curves: percentages, order of the lines and invisible thinning."""

import numpy as np
import pytest

from covidxr.figures import MODEL_COLORS, MODEL_DASHES, Curve, precision_recall_figure, roc_figure
from covidxr.figures.curves import thinned

INK = "#123456"
STEP = Curve(
    "Lung_Opacity",
    np.array([0.0, 0.0, 1.0]),
    np.array([0.0, 0.8, 1.0]),
    "#CC79A7",
    "AUROC 0.900 (0.850-0.950)",
)
PLAIN = Curve("poster-cnn", np.array([0.0, 1.0]), np.array([0.5, 0.25]), MODEL_COLORS[1], "")


def test_roc_curves_are_in_percent_with_the_chance_diagonal():
    figure = roc_figure([STEP, PLAIN], INK)
    first, second, chance = figure.data
    assert (list(first.x), list(first.y)) == ([0, 0, 100], [0, 80, 100])
    assert [line.name for line in figure.data] == [
        "Lung opacity: AUROC 0.900 (0.850-0.950)",
        "poster-cnn",
        "Chance level",
    ]
    assert (first.line.color, second.line.color) == ("#CC79A7", MODEL_COLORS[1])
    assert (first.line.dash, second.line.dash) == MODEL_DASHES[:2]
    assert (list(chance.x), list(chance.y), chance.line.dash) == ([0, 100], [0, 100], "dash")
    assert figure.layout.xaxis.title.text == "False-positive rate (%)"
    assert figure.layout.yaxis.title.text == "Sensitivity / recall (%)"
    assert figure.layout.yaxis.scaleanchor == "x"


def test_precision_recall_has_ppv_over_sensitivity():
    figure = precision_recall_figure([PLAIN], INK)
    assert (list(figure.data[0].x), list(figure.data[0].y)) == ([0, 100], [50, 25])
    assert figure.layout.xaxis.title.text == "Sensitivity / recall (%)"
    assert figure.layout.yaxis.title.text == "PPV / precision (%)"


def test_a_legend_entry_makes_the_figure_taller():
    one, two = (roc_figure([STEP] * n, INK).layout for n in (1, 2))
    assert two.height - one.height == two.margin.b - one.margin.b == 20


def roc_staircase(n):
    rng = np.random.default_rng(0)
    positive = rng.random(n) < 0.3
    score = rng.normal(1.2 * positive)
    hit = positive[np.argsort(-score)]
    return np.stack([np.cumsum(~hit) / (~hit).sum(), np.cumsum(hit) / hit.sum()], axis=1)


def sawtooth(n):
    """Return the precision-recall curve of a random model, noisy where few are predicted."""
    hit = np.random.default_rng(1).random(n) < 0.2
    found = np.cumsum(hit)
    return np.stack([found / found[-1], found / np.arange(1, n + 1)], axis=1)


def distance_to_line(points, line):
    """Return the greatest distance of points (P, 2) from a polyline (Q, 2)."""
    start, chord = line[:-1], np.diff(line, axis=0)
    worst = 0.0
    for point in points:
        along = np.clip(
            ((point - start) * chord).sum(axis=1) / np.maximum((chord**2).sum(axis=1), 1e-12), 0, 1
        )
        worst = max(worst, np.linalg.norm(point - start - along[:, None] * chord, axis=1).min())
    return worst


@pytest.mark.parametrize("draw", [roc_staircase, sawtooth])
@pytest.mark.parametrize("n", [2_500, 20_000])
def test_a_thinned_curve_has_few_points_and_the_same_course(draw, n):
    full = 100 * draw(n)
    few = thinned(full)
    assert len(few) <= 600
    assert (few[0] == full[0]).all()
    assert (few[-1] == full[-1]).all()
    # A sixth of a pixel.
    assert distance_to_line(full, few) <= 0.05 + 1e-9


def test_figures_contain_the_thinned_curve():
    x, y = roc_staircase(20_000).T
    assert len(roc_figure([Curve("a", x, y, "#4C8DFF", "")], INK).data[0].x) <= 600


def test_corners_are_kept_and_points_on_a_line_dropped():
    corners = np.array([[0, 0], [0, 50], [0, 90], [50, 90], [100, 90]])
    assert thinned(corners).tolist() == [[0, 0], [0, 90], [100, 90]]
    assert thinned(corners[:1]).tolist() == [[0, 0]]
    assert thinned(corners[[0, 0, 0]]).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros(3), np.zeros(2), r"x and y of a must have one length .* got \(3,\) and \(2,\)"),
        (np.zeros(0), np.zeros(0), r"x and y of a must have one length .* got \(0,\) and \(0,\)"),
        (np.zeros((2, 2)), np.zeros(2), r"values of a of shape \(P,\), got \(2, 2\)"),
        (np.zeros(2), np.array([0, 95.0]), "values of a must be between 0 and 1"),
        (np.array([0, np.nan]), np.zeros(2), "values of a must be between 0 and 1"),
    ],
)
@pytest.mark.parametrize("draw", [roc_figure, precision_recall_figure])
def test_invalid_curves_are_rejected(draw, x, y, message):
    with pytest.raises(ValueError, match=message):
        draw([Curve("a", x, y, "#4C8DFF", "")], INK)
    with pytest.raises(ValueError, match="at least one curve"):
        draw([], INK)
