"""Learning curves against hand-worked values."""

import pytest

from covidxr.cards import EpochMetrics
from covidxr.figures import MODEL_COLORS, MODEL_DASHES, learning_figure
from covidxr.figures.learning import Measure

INK = "#123456"


def epochs(count, shift=0.0):
    return [
        EpochMetrics(k, 1 / k, 0.5 + shift, 2 / k, 0.6 + shift, 0.4 + shift)
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
    assert [trace.line.color for trace in figure.data] == [MODEL_COLORS[0], MODEL_COLORS[2]]
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
    rejected: tuple[tuple[dict[str, list[EpochMetrics]], Measure], ...] = (
        ({"a": epochs(1)}, "accuracy"),
        ({"a": epochs(1), "b": epochs(1)}, "loss"),
    )
    for curves, measure in rejected:
        with pytest.raises(ValueError, match="steps require the loss of a single model"):
            learning_figure(curves, measure, INK, [(0.5, 1.4)])


def test_invalid_learning_curves_are_rejected():
    with pytest.raises(ValueError, match="measure must be loss, accuracy or macro_f1, got 'f1'"):
        learning_figure({"a": epochs(1)}, "f1", INK)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to 5 models, got 6"):
        learning_figure({str(k): epochs(1) for k in range(6)}, "loss", INK)
    with pytest.raises(ValueError, match="1 to 5 models, got 0"):
        learning_figure({}, "loss", INK)
    with pytest.raises(ValueError, match="at least one epoch is required"):
        learning_figure({"a": [], "b": []}, "loss", INK)
