"""covidxr: a workbench for chest X-ray classifiers.

For research and education only. Not a medical device.

The public API is loaded on first use, so that `import covidxr` is fast:

    import covidxr

    classifier = covidxr.load_classifier("covidxr-resnet18")
    prediction = classifier.predict(covidxr.read_radiograph("scan.dcm"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from covidxr.datasets.opening import open_dataset
    from covidxr.evaluation.stored import evaluate
    from covidxr.images.reading import read_radiograph
    from covidxr.metrics.comparison import compare
    from covidxr.prediction.cases import explain, predict_files
    from covidxr.prediction.loading import list_models, load_classifier

__version__ = "0.2.0"
__all__ = [
    "compare",
    "evaluate",
    "explain",
    "list_models",
    "load_classifier",
    "open_dataset",
    "predict_files",
    "read_radiograph",
]
_HOMES = {
    "compare": "covidxr.metrics.comparison",
    "evaluate": "covidxr.evaluation.stored",
    "explain": "covidxr.prediction.cases",
    "list_models": "covidxr.prediction.loading",
    "load_classifier": "covidxr.prediction.loading",
    "open_dataset": "covidxr.datasets.opening",
    "predict_files": "covidxr.prediction.cases",
    "read_radiograph": "covidxr.images.reading",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'covidxr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
