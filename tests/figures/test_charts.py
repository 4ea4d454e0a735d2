"""Charts of probabilities, calibration and thresholds against hand-worked values."""

import numpy as np
import pytest

from covidxr.figures import (
    CLASS_COLORS,
    probability_bars,
    reliability_figure,
    threshold_figure,
)
from covidxr.metrics.calibration import ReliabilityCurve
from covidxr.records import CLASS_NAMES, Interval

INK = "#123456"


def test_bars_keep_order_and_colors_and_show_their_ranges():
    ranges = {
        "Normal": (0.02, 0.1),
        "COVID": (0.6, 0.75),
        "Viral Pneumonia": (0.05, 0.05),
        "Lung_Opacity": (0.15, 0.35),
    }
    figure = probability_bars(
        {"Normal": 0.1, "COVID": 0.7, "Viral Pneumonia": 0.05, "Lung_Opacity": 0.15},
        "#101418",
        ranges,
    )
    bars, written = figure.data
    assert list(bars.y) == ["Normal", "COVID-19", "Viral pneumonia", "Lung opacity"]
    assert list(bars.x) == pytest.approx([10, 70, 5, 15])
    assert list(bars.error_x.arrayminus) == pytest.approx([8, 10, 0, 0])
    assert list(bars.error_x.array) == pytest.approx([0, 5, 0, 20])
    assert list(bars.marker.color) == [CLASS_COLORS[name] for name in CLASS_NAMES]
    assert [text.strip() for text in written.text] == ["10%", "70%", "5%", "15%"]
    assert list(written.x) == [100] * 4
    assert "Flipped and rotated: %{customdata[0]:.1f}–%{customdata[1]:.1f}%" in bars.hovertemplate
    assert figure.layout.xaxis.title.text == "Probability (%)"
    inks = (
        written.textfont.color,
        *(axis.tickfont.color for axis in (figure.layout.xaxis, figure.layout.yaxis)),
    )
    assert {*inks, figure.layout.xaxis.title.font.color, bars.error_x.color} == {"#101418"}


def test_a_class_without_a_color_is_gray():
    shares = {"Normal": 0.5, "Tuberculosis": 0.5}
    bars = probability_bars(shares, "#101418", dict.fromkeys(shares, (0.5, 0.5))).data[0]
    assert list(bars.marker.color) == ["#56B4E9", "#999999"]


BEFORE = ReliabilityCurve(
    (0.1, 0.9), (Interval(0.2, 0.15, 0.3), Interval(0.6, 0.5, 0.65)), (1200, 10)
)
AFTER = ReliabilityCurve((0.15,), (Interval(0.2, 0.15, 0.3),), (1210,))


def test_reliability_shows_both_curves_with_their_intervals_in_percent():
    figure = reliability_figure(BEFORE, AFTER, "Lung_Opacity", INK)
    ideal, before, after = figure.data
    assert ideal.name == "Perfect calibration"
    assert (list(ideal.x), list(ideal.y)) == ([0, 100], [0, 100])
    assert list(before.x) == pytest.approx([10, 90])
    assert list(before.y) == pytest.approx([20, 60])
    assert list(before.error_y.array) == pytest.approx([10, 5])
    assert list(before.error_y.arrayminus) == pytest.approx([5, 10])
    assert before.hovertext[0] == (
        "Before temperature scaling<br>mean predicted 10.0%<br>"
        "observed 20.0% (95% CI 15.0–30.0), n = 1,200"
    )
    assert list(after.x) == pytest.approx([15])
    assert before.marker.symbol != after.marker.symbol
    assert before.line.dash != after.line.dash
    assert after.line.color == CLASS_COLORS["Lung_Opacity"]
    assert figure.layout.xaxis.title.text == "Predicted probability of Lung opacity (%)"
    assert figure.layout.yaxis.title.text == "Observed frequency of Lung opacity (%)"
    assert figure.layout.yaxis.scaleanchor == "x"


def test_an_inconsistent_reliability_curve_is_rejected():
    with pytest.raises(ValueError, match=r"got \(2, 1, 1\)"):
        reliability_figure(
            BEFORE, ReliabilityCurve((0.1, 0.2), AFTER.observed, AFTER.counts), "COVID", INK
        )


def test_histograms_are_percentages_of_their_group():
    positive, negative = np.array([0.99, 1.0, 0.51, 0.024]), np.array([0.0, 0.0251])
    figure = threshold_figure(positive, negative, 0.425, "COVID", INK)
    others, own = figure.data
    assert len(own.x) == len(own.y) == 40
    # Bins of 2.5 points: 99% and 100% in the last, 51% in [50, 52.5), 2.4% in the first; 2.51% in
    # the second.
    assert {i: y for i, y in enumerate(own.y) if y} == {0: 25, 20: 25, 39: 50}
    assert {i: y for i, y in enumerate(others.y) if y} == {0: 50, 1: 50}
    assert list(own.x[:2]) == [1.25, 3.75]
    assert own.hovertext[39] == "50.0% of 4 images with COVID-19<br>probability 97.5–100%"
    assert (own.name, others.name) == ("With COVID-19, n = 4", "Without COVID-19, n = 2")
    assert own.marker.color == CLASS_COLORS["COVID"]
    assert own.marker.pattern.shape != others.marker.pattern.shape
    assert figure.layout.barmode == "overlay"
    line, label = figure.layout.shapes[0], figure.layout.annotations[0]
    assert line.x0 == line.x1 == label.x == 42.5
    assert label.text == "Threshold 42.5%"


@pytest.mark.parametrize(
    ("threshold", "side", "text"),
    [(0.0, "left", "0%"), (0.00012, "left", "0.012%"), (1.0, "right", "100%")],
)
def test_the_threshold_label_is_toward_the_middle(threshold, side, text):
    label = threshold_figure(
        np.array([0.5]), np.array([0.5]), threshold, "COVID", INK
    ).layout.annotations[0]
    assert (label.xanchor, label.text) == (side, f"Threshold {text}")


def test_a_class_without_images_has_no_bars():
    figure = threshold_figure(np.array([]), np.array([0.5]), 0.5, "COVID", INK)
    assert figure.data[1].name == "With COVID-19, n = 0"
    assert not np.any(figure.data[1].y)


def test_one_plus_a_rounding_error_is_a_probability():
    figure = threshold_figure(np.array([1 + 1e-12]), np.array([0.5]), 0.5, "COVID", INK)
    assert figure.data[1].y[39] == 100


def test_invalid_thresholds_are_rejected():
    fine = np.array([0.5])
    with pytest.raises(ValueError, match=r"threshold must be between 0 and 1, got 42"):
        threshold_figure(fine, fine, 42, "COVID", INK)
    with pytest.raises(ValueError, match=r"probabilities must be between 0 and 1"):
        threshold_figure(fine, np.array([np.nan]), 0.5, "COVID", INK)
    with pytest.raises(ValueError, match=r"shape \(P,\), got \(1, 1\)"):
        threshold_figure(fine[None], fine, 0.5, "COVID", INK)
