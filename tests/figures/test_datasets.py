import numpy as np
import pytest

from covidxr.figures import CLASS_COLOURS, MODEL_COLOURS, count_bars, map_figure

INK = "#123456"


def test_a_part_that_a_row_lacks_has_no_pictures():
    figure = count_bars(
        {"Normal": {"rsna": 5, "kermany": 2}, "Lung_Opacity": {"rsna": 3}}, INK, stacked=True
    )
    assert [(bar.name, list(bar.y), list(bar.x)) for bar in figure.data] == [
        ("rsna", ["Normal", "Lung opacity"], [5, 3]),
        ("kermany", ["Normal", "Lung opacity"], [2, 0]),
    ]
    assert figure.layout.barmode == "stack"
    assert figure.layout.xaxis.range[1] >= 7
    assert len({bar.marker.pattern.shape for bar in figure.data}) == 2, (
        "a colour-blind reader tells them by colour alone"
    )


def test_bars_side_by_side_say_their_number():
    figure = count_bars({"Normal": {"Here": 10192, "The study": 10192}}, INK, stacked=False)
    assert [list(bar.text) for bar in figure.data] == [["10,192"], ["10,192"]]
    assert figure.layout.showlegend


def test_too_many_parts_are_refused():
    with pytest.raises(ValueError, match="1 to 5 parts, got 1 rows of 6 parts"):
        count_bars({"Normal": dict.fromkeys("abcdef", 1)}, INK, stacked=True)
    with pytest.raises(ValueError, match="got 0 rows"):
        count_bars({}, INK, stacked=True)


def test_a_map_gives_classes_their_colours_and_sources_others():
    places = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    figure = map_figure(places, ["COVID", "Normal", "COVID"], INK)
    assert [(trace.name, list(trace.x)) for trace in figure.data] == [
        ("Normal", [2.0]),
        ("COVID", [0.0, 4.0]),
    ]
    assert [trace.marker.color for trace in figure.data] == [
        CLASS_COLOURS["Normal"],
        CLASS_COLOURS["COVID"],
    ]
    by_source = map_figure(places, ["b", "a", "a"], INK)
    assert [(trace.name, trace.marker.color) for trace in by_source.data] == [
        ("a", MODEL_COLOURS[0]),
        ("b", MODEL_COLOURS[1]),
    ]
    with pytest.raises(ValueError, match="for each of 3 points"):
        map_figure(places, ["a", "b"], INK)
