"""Charts of the validation of heat maps."""

import pytest

from covidxr.cards import CascadeStep
from covidxr.figures import cascade_figure, removal_figure

INK = "#123456"


def test_removal_curves_run_from_no_pixels_to_all():
    figure = removal_figure((0.9, 0.5, 0.1), (0.9, 0.8, 0.1), "blackened", INK)
    assert [list(trace.x) for trace in figure.data] == [[0, 50, 100]] * 2
    assert list(figure.data[0].y) == pytest.approx([90, 50, 10])
    assert len({trace.line.dash for trace in figure.data}) == 2
    assert figure.layout.xaxis.title.text == "Pixels blackened (%)"


@pytest.mark.parametrize(
    ("one", "other"), [((0.9,), (0.9,)), ((0.9, 0.1), (0.9,)), ((0.9, 1.5), (0.9, 0.1))]
)
def test_invalid_curves_are_rejected(one, other):
    with pytest.raises(ValueError, match=r"expected two curves|must be between"):
        removal_figure(one, other, "blackened", INK)


def test_the_cascade_starts_at_the_trained_network_and_shows_negative_correlation():
    figure = cascade_figure((CascadeStep("fc", 0.8, 0.7), CascadeStep("layer4", -0.3, 0.1)), INK)
    assert list(figure.data[0].x) == ["none", "fc", "layer4"]
    assert list(figure.data[0].y) == [1.0, 0.8, -0.3]
    assert figure.layout.yaxis.range[0] < -0.3
    assert len({trace.marker.symbol for trace in figure.data}) == 2
    with pytest.raises(ValueError, match="at least one step"):
        cascade_figure((), INK)
