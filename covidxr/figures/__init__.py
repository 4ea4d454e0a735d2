"""Charts and image overlays, as pure functions of numbers."""

from covidxr.figures.charts import probability_bars, reliability_figure, threshold_figure
from covidxr.figures.confusion import Share, confusion_figure, confusion_grid
from covidxr.figures.curves import Curve, precision_recall_figure, roc_figure
from covidxr.figures.datasets import count_bars, similarity_figure
from covidxr.figures.difference import difference_figure
from covidxr.figures.images import (
    INFERNO,
    SCREEN_EDGE,
    Rgba,
    contour_layer,
    fit_screen,
    heat_layer,
    heat_overlay,
    layer_size,
    lung_outline,
    on_native_grid,
    opacity_boxes,
    outline_layer,
)
from covidxr.figures.learning import Measure, learning_figure
from covidxr.figures.maps import cascade_figure, removal_figure
from covidxr.figures.style import (
    CLASS_COLORS,
    MODEL_COLORS,
    MODEL_DASHES,
    OTHER_CLASS,
)

__all__ = [
    "CLASS_COLORS",
    "INFERNO",
    "MODEL_COLORS",
    "MODEL_DASHES",
    "OTHER_CLASS",
    "SCREEN_EDGE",
    "Curve",
    "Measure",
    "Rgba",
    "Share",
    "cascade_figure",
    "confusion_figure",
    "confusion_grid",
    "contour_layer",
    "count_bars",
    "difference_figure",
    "fit_screen",
    "heat_layer",
    "heat_overlay",
    "layer_size",
    "learning_figure",
    "lung_outline",
    "on_native_grid",
    "opacity_boxes",
    "outline_layer",
    "precision_recall_figure",
    "probability_bars",
    "reliability_figure",
    "removal_figure",
    "roc_figure",
    "similarity_figure",
    "threshold_figure",
]
