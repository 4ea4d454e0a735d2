"""Charts of probabilities, calibration, training and thresholds against hand-worked values."""

import numpy as np
import pytest

from covidxr.cards import EpochFigures
from covidxr.figures import (
    CLASS_COLOURS,
    MODEL_COLOURS,
    MODEL_DASHES,
    learning_figure,
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
    assert list(bars.marker.color) == [CLASS_COLOURS[name] for name in CLASS_NAMES]
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
    assert after.line.color == CLASS_COLOURS["Lung_Opacity"]
    assert figure.layout.xaxis.title.text == "Predicted probability of Lung opacity (%)"
    assert figure.layout.yaxis.title.text == "Observed frequency of Lung opacity (%)"
    assert figure.layout.yaxis.scaleanchor == "x"


def test_an_inconsistent_reliability_curve_is_rejected():
    with pytest.raises(ValueError, match=r"got \(2, 1, 1\)"):
        reliability_figure(
            BEFORE, ReliabilityCurve((0.1, 0.2), AFTER.observed, AFTER.counts), "COVID", INK
        )


def epochs(count, shift=0.0):
    return [
        EpochFigures(k, 1 / k, 0.5 + shift, 2 / k, 0.6 + shift, 0.4 + shift)
        for k in range(1, count + 1)
    ]


def test_one_model_shows_training_and_validation():
    loss = learning_figure({"a": epochs(2)}, "loss", INK)
    assert [(trace.name, list(trace.x), list(trace.y)) for trace in loss.data] == [
        ("Training", [1, 2], [1.0, 0.5]),
        ("Validation", [1, 2], [2.0, 1.0]),
    ]
    assert loss.data[0].line.dash != loss.data[1].line.dash
    assert loss.layout.yaxis.title.text == "Loss"
    accuracy = learning_figure({"a": epochs(2)}, "accuracy", INK)
    assert [list(trace.y) for trace in accuracy.data] == [[50, 50], [60, 60]]
    assert accuracy.layout.yaxis.title.text == "Accuracy (%)"
    macro_f1 = learning_figure({"a": epochs(2)}, "macro_f1", INK)
    assert [(trace.name, list(trace.y)) for trace in macro_f1.data] == [("Validation", [40, 40])]


def test_several_models_show_validation_in_their_own_colors():
    figure = learning_figure({"a": epochs(2), "b": [], "c": epochs(3, 0.1)}, "accuracy", INK)
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [
        ("a", [60, 60]),
        ("c", pytest.approx([70, 70, 70])),
    ]
    assert [trace.line.color for trace in figure.data] == [MODEL_COLOURS[0], MODEL_COLOURS[2]]
    assert [trace.line.dash for trace in figure.data] == [MODEL_DASHES[0], MODEL_DASHES[2]]


@pytest.mark.parametrize(("count", "step"), [(1, 1), (10, 1), (11, 2), (46, 5)])
def test_ticks_are_whole_epochs_and_a_single_epoch_is_centered(count, step):
    figure = learning_figure({"a": epochs(count)}, "loss", INK)
    ticks = figure.layout.xaxis
    assert (ticks.tick0, ticks.dtick, tuple(ticks.range)) == (1, step, (0.5, count + 0.5))
    assert all(("markers" in trace.mode) == (count <= 30) for trace in figure.data)


def test_the_loss_of_a_running_training_is_drawn_within_its_epochs():
    figure = learning_figure({"a": epochs(1)}, "loss", INK, [(0.5, 1.4), (1.25, 0.9)])
    live = figure.data[0]
    assert (live.name, list(live.x), list(live.y)) == (
        "Training (running)",
        [0.5, 1.25],
        [1.4, 0.9],
    )
    assert tuple(figure.layout.xaxis.range) == (0, 2.5)
    assert [trace.name for trace in learning_figure({"a": []}, "loss", INK, [(0.1, 1.4)]).data] == [
        "Training (running)"
    ]
    for curves, measure in (
        ({"a": epochs(1)}, "accuracy"),
        ({"a": epochs(1), "b": epochs(1)}, "loss"),
    ):
        with pytest.raises(ValueError, match="steps require the loss of a single model"):
            learning_figure(curves, measure, INK, [(0.5, 1.4)])


def test_invalid_learning_curves_are_rejected():
    with pytest.raises(ValueError, match="measure must be loss, accuracy or macro_f1, got 'f1'"):
        learning_figure({"a": epochs(1)}, "f1", INK)
    with pytest.raises(ValueError, match="1 to 5 models, got 6"):
        learning_figure({str(k): epochs(1) for k in range(6)}, "loss", INK)
    with pytest.raises(ValueError, match="1 to 5 models, got 0"):
        learning_figure({}, "loss", INK)
    with pytest.raises(ValueError, match="at least one epoch is required"):
        learning_figure({"a": [], "b": []}, "loss", INK)


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
    assert own.marker.color == CLASS_COLOURS["COVID"]
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
