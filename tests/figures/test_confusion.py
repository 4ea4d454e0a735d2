"""Confusion matrices against percentages worked out by hand."""

import json

import numpy as np
import pytest

from covidxr.figures import confusion_figure, confusion_grid
from covidxr.figures.style import contrast, mixed, rgb

INK = "#123456"
TWO = [[18, 2], [1, 3]]
THREE = [[1200, 300, 0], [0, 0, 0], [1, 0, 2]]
NAMES = ("Normal", "COVID", "Lung_Opacity")


def texts(figure, size):
    """Return the labels of the cells by row."""
    cells = {(note.y, note.x): note.text for note in figure.layout.annotations if note.xref == "x"}
    return [[cells[i, j] for j in range(size)] for i in range(size)]


def test_two_classes_in_counts_and_percentages():
    assert texts(confusion_figure(TWO, NAMES[:2], ink=INK), 2) == [["18", "2"], ["1", "3"]]
    assert texts(confusion_figure(TWO, NAMES[:2], "row", ink=INK), 2) == [
        ["90.0%", "10.0%"],
        ["25.0%", "75.0%"],
    ]
    assert texts(confusion_figure(TWO, NAMES[:2], "column", ink=INK), 2) == [
        ["94.7%", "40.0%"],
        ["5.3%", "60.0%"],
    ]


def test_three_classes_of_which_one_has_no_images():
    counts = confusion_figure(THREE, NAMES, ink=INK)
    assert texts(counts, 3) == [["1,200", "300", "0"], ["0", "0", "0"], ["1", "0", "2"]]
    rows = confusion_figure(THREE, NAMES, "row", ink=INK)
    assert texts(rows, 3) == [
        ["80.0%", "20.0%", "0.0%"],
        ["–", "–", "–"],
        ["33.3%", "0.0%", "66.7%"],
    ]
    columns = confusion_figure(THREE, NAMES, "column", ink=INK)
    assert texts(columns, 3) == [
        ["99.9%", "100.0%", "0.0%"],
        ["0.0%", "0.0%", "0.0%"],
        ["0.1%", "0.0%", "100.0%"],
    ]
    for figure in (counts, rows, columns):
        assert (
            "nan"
            not in json.dumps(
                [figure.data[1].hovertext, figure.layout.to_plotly_json()["annotations"]]
            ).lower()
        )
    # An undefined cell is transparent, so that only the ink is readable.
    assert [note.font.color for note in rows.layout.annotations[3:6]] == [INK] * 3


@pytest.mark.parametrize(
    ("share", "colors"),
    [
        ("counts", [[90, 10], [25, 75]]),
        ("row", [[90, 10], [25, 75]]),
        ("column", [[1800 / 19, 40], [100 / 19, 60]]),
    ],
)
def test_colors_are_percentages_so_that_a_rare_class_is_readable(share, colors):
    heat = confusion_figure(TWO, NAMES[:2], share, ink=INK).data[0]
    assert np.asarray(heat.z) == pytest.approx(np.array(colors))
    assert (heat.zmin, heat.zmax) == (0, 100)


def test_a_click_selects_its_cell():
    figure = confusion_figure(THREE, NAMES, ink=INK)
    heat, targets = figure.data
    assert [list(pair) for pair in targets.customdata] == [
        [i, j] for i in range(3) for j in range(3)
    ]
    assert [[y, x] for x, y in zip(targets.x, targets.y, strict=True)] == [
        list(pair) for pair in targets.customdata
    ]
    assert heat.hoverinfo == "skip"
    assert (
        targets.marker.opacity,
        targets.selected.marker.opacity,
        targets.unselected.marker.opacity,
    ) == (0, 0, 0)
    assert targets.marker.symbol == "square"
    # Nine cells share a plot of about 330 x 340 pixels: a marker covers most of one cell only.
    assert targets.marker.size == 100
    layout = figure.layout
    assert (layout.clickmode, layout.dragmode, layout.hovermode, layout.hoverdistance) == (
        "event+select",
        False,
        "closest",
        -1,
    )
    # The first true class is on top, and the cells fill the axes.
    assert (tuple(layout.yaxis.range), tuple(layout.xaxis.range)) == ((2.5, -0.5), (-0.5, 2.5))
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("Predicted class", "True class")
    assert (
        layout.xaxis.ticktext == layout.yaxis.ticktext == ("Normal", "COVID-19", "Lung<br>opacity")
    )


def test_hover_texts():
    rows = confusion_figure(THREE, NAMES, ink=INK).data[1].hovertext
    assert rows[1] == "300 Normal images<br>predicted as COVID-19<br>(20.0% of the true class)"
    assert rows[3] == "0 COVID-19 images<br>predicted as Normal"
    assert rows[6] == ("1 Lung opacity image<br>predicted as Normal<br>(33.3% of the true class)")
    columns = confusion_figure(THREE, NAMES, "column", ink=INK).data[1].hovertext
    assert columns[8] == (
        "2 Lung opacity images<br>predicted as Lung opacity<br>(100.0% of the predicted class)"
    )


def test_the_selected_cell_is_outlined_within_the_plot():
    assert not confusion_figure(TWO, NAMES[:2], ink=INK).layout.shapes
    shapes = confusion_figure(TWO, NAMES[:2], selected=(0, 1), ink=INK).layout.shapes
    assert {(shape.x0, shape.x1, shape.y0, shape.y1) for shape in shapes} == {
        (0.54, 1.46, -0.46, 0.46)
    }
    assert [shape.line.color for shape in shapes] == ["#000000", "#FFFFFF"]


@pytest.mark.parametrize("share", [0, 25, 45, 60, 100])
def test_text_is_readable_on_its_cell(share):
    figure = confusion_figure([[share, 100 - share], [50, 50]], NAMES[:2], ink=INK)
    stops = [color for _, color in figure.data[0].colorscale]
    assert contrast(rgb(figure.layout.annotations[0].font.color), mixed(stops, share / 100)) >= 4.5


def test_invalid_matrices_are_rejected():
    with pytest.raises(ValueError, match=r"shape \(2, 2\) for 2 classes, 2 or more, got \(3, 3\)"):
        confusion_figure(THREE, NAMES[:2], ink=INK)
    with pytest.raises(ValueError, match=r"2 or more, got \(1, 1\)"):
        confusion_figure([[4]], NAMES[:1], ink=INK)
    with pytest.raises(ValueError, match="counts must be 0 or more"):
        confusion_figure([[1, -1], [0, 1]], NAMES[:2], ink=INK)
    with pytest.raises(ValueError, match="counts must be 0 or more"):
        confusion_figure([[1.0, np.nan], [0.0, 1.0]], NAMES[:2], ink=INK)
    with pytest.raises(ValueError, match="share must be counts, row or column, got 'all'"):
        confusion_figure(TWO, NAMES[:2], "all", ink=INK)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"selected cell within \(2, 2\), got \(0, 2\)"):
        confusion_figure(TWO, NAMES[:2], selected=(0, 2), ink=INK)
    with pytest.raises(ValueError, match="2 to 5 models, got 1"):
        confusion_grid({"a": TWO}, NAMES[:2], INK)
    with pytest.raises(ValueError, match="2 to 5 models, got 6"):
        confusion_grid({str(k): TWO for k in range(6)}, NAMES[:2], INK)
    with pytest.raises(ValueError, match=r"got \(3, 3\)"):
        confusion_grid({"a": TWO, "b": THREE}, NAMES[:2], INK)


def test_the_grid_shares_one_scale_and_rounds_only_exact_values_to_0_and_100():
    almost = [[999, 1], [0, 4]]
    figure = confusion_grid({"poster-resnet18-pretrained": TWO, "b": almost}, NAMES[:2], INK)
    first, second = figure.data
    assert np.asarray(first.z).tolist() == [[90, 10], [25, 75]]
    assert (first.coloraxis, second.coloraxis) == ("coloraxis", "coloraxis")
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 100)
    assert [note.text for note in figure.layout.annotations] == [
        *("90", "10", "25", "75", "poster-resnet18-<br>pretrained"),
        *(">99", "<1", "0", "100", "b"),
    ]
    assert second.hovertext[0][1] == (
        "b<br>1 Normal image<br>predicted as COVID-19<br>(0.1% of the true class)"
    )


@pytest.mark.parametrize(("models", "columns"), [(2, 2), (3, 3), (4, 2), (5, 3)])
def test_panels_do_not_overlap(models, columns):
    layout = confusion_grid({f"model-{k}": TWO for k in range(models)}, NAMES[:2], INK).layout
    suffixes = ["", *(str(k) for k in range(2, models + 1))]
    boxes = [(*layout[f"xaxis{s}"].domain, *layout[f"yaxis{s}"].domain) for s in suffixes]
    assert len({box[2:] for box in boxes[:columns]}) == 1
    for i, (left, right, bottom, top) in enumerate(boxes):
        assert 0 <= left < right <= 1.0001
        assert 0 <= bottom < top < 1
        for left_2, right_2, bottom_2, top_2 in boxes[i + 1 :]:
            assert right < left_2 or right_2 < left or top < bottom_2 or top_2 < bottom
    # Classes are labeled on the left and below, also where the last row is shorter.
    assert [layout[f"yaxis{s}"].showticklabels for s in suffixes] == [
        k % columns == 0 for k in range(models)
    ]
    assert [layout[f"xaxis{s}"].showticklabels for s in suffixes] == [
        k + columns >= models for k in range(models)
    ]
