"""Differences of confusion matrices against hand-worked values."""

import numpy as np
import pytest

from covidxr.figures import difference_figure
from covidxr.figures.style import contrast, rgb

INK = "#123456"
TWO = [[18, 2], [1, 3]]
NAMES = ("Normal", "COVID", "Lung_Opacity")


def test_the_difference_is_b_minus_a_in_percentage_points():
    figure = difference_figure(
        [[1500, 500, 0], [0, 0, 0], [1, 0, 3]],
        [[300, 199, 1], [0, 0, 0], [1, 0, 3]],
        "a",
        "b",
        NAMES,
        INK,
    )
    # Normal: 75%, 25%, 0% of 2,000 against 60%, 39.8%, 0.2% of 500.
    cells = {(note.y, note.x): note.text for note in figure.layout.annotations[:-1]}
    assert [[cells[i, j] for j in range(3)] for i in range(3)] == [
        ["−15.0<br>(−1,200)", "+14.8<br>(−301)", "+0.2<br>(+1)"],
        ["–", "–", "–"],
        ["0.0<br>(0)", "0.0<br>(0)", "0.0<br>(0)"],
    ]
    heat = figure.data[0]
    assert heat.zmin == -heat.zmax == pytest.approx(-15)
    assert heat.hovertext[0][0] == (
        "1,200 fewer Normal images<br>predicted as Normal<br>by b than by a"
        "<br>(−15.0 percentage points)"
    )
    assert heat.hovertext[0][2].startswith("1 more Normal image<br>predicted as Lung opacity")
    assert heat.hovertext[1][0] == "No COVID-19 images"
    assert heat.hovertext[2][2] == (
        "Same number of Lung opacity images<br>predicted as Lung opacity"
    )
    assert figure.layout.annotations[-1].text == "b<br>minus a"
    axes = figure.layout.xaxis, figure.layout.yaxis
    assert [axis.title.text for axis in axes] == ["Predicted class", "True class"]
    with pytest.raises(ValueError, match=r"got \(3, 3\)"):
        difference_figure(TWO, np.eye(3), "a", "b", NAMES[:2], INK)


def test_identical_models_have_pale_colors():
    heat = difference_figure(TWO, TWO, "a", "b", NAMES[:2], INK).data[0]
    assert (heat.zmin, heat.zmax) == (-1, 1)
    assert not np.any(heat.z)


@pytest.mark.parametrize("ink", ["#101418", "#E6E8EA"])
def test_fewer_is_blue_and_more_is_orange_around_the_background(ink):
    heat = difference_figure(TWO, TWO, "a", "b", NAMES[:2], ink).data[0]
    (_, fewest), *_, (_, most) = heat.colorscale
    assert rgb(fewest)[2] > rgb(fewest)[0]
    assert rgb(most)[0] > rgb(most)[2]
    middle = rgb(heat.colorscale[2][1])
    assert contrast(middle, rgb(ink)) > 10
    assert np.ptp(middle) < 16
