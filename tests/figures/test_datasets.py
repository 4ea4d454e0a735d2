"""Charts of datasets against hand-worked values."""

import numpy as np
import pytest

from covidxr.figures import CLASS_COLORS, MODEL_COLORS, count_bars, similarity_figure

INK = "#123456"


def test_a_part_missing_from_a_row_has_no_images():
    figure = count_bars(
        {"Normal": {"rsna": 5, "kermany": 2}, "Lung_Opacity": {"rsna": 3}}, INK, stacked=True
    )
    assert [(bar.name, list(bar.y), list(bar.x)) for bar in figure.data] == [
        ("rsna", ["Normal", "Lung opacity"], [5, 3]),
        ("kermany", ["Normal", "Lung opacity"], [2, 0]),
    ]
    assert figure.layout.barmode == "stack"
    assert figure.layout.xaxis.range[1] >= 7
    # For color-blind readers.
    assert len({bar.marker.pattern.shape for bar in figure.data}) == 2


def test_bars_side_by_side_show_their_number():
    figure = count_bars(
        {"Normal": {"This dataset": 10192, "Baseline study": 10192}}, INK, stacked=False
    )
    assert [list(bar.text) for bar in figure.data] == [["10,192"], ["10,192"]]
    assert figure.layout.showlegend


def test_too_many_parts_are_rejected():
    with pytest.raises(ValueError, match="1 to 5 parts, got 1 rows of 6 parts"):
        count_bars({"Normal": dict.fromkeys("abcdef", 1)}, INK, stacked=True)
    with pytest.raises(ValueError, match="got 0 rows"):
        count_bars({}, INK, stacked=True)


def test_a_similarity_map_has_class_colors_for_classes_only():
    places = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    figure = similarity_figure(places, ["COVID", "Normal", "COVID"], INK)
    assert [(trace.name, list(trace.x)) for trace in figure.data] == [
        ("Normal", [2.0]),
        ("COVID-19", [0.0, 4.0]),
    ]
    assert [trace.marker.color for trace in figure.data] == [
        CLASS_COLORS["Normal"],
        CLASS_COLORS["COVID"],
    ]
    by_source = similarity_figure(places, ["b", "a", "a"], INK)
    assert [(trace.name, trace.marker.color) for trace in by_source.data] == [
        ("a", MODEL_COLORS[0]),
        ("b", MODEL_COLORS[1]),
    ]
    with pytest.raises(ValueError, match="for each of 3 points, got 2 values of 2 names"):
        similarity_figure(places, ["a", "b"], INK)
