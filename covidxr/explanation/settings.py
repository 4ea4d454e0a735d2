"""The kinds of heat maps that are measured for a network, and those that serve where none was measured."""

from __future__ import annotations

from covidxr.cards import METHOD_TITLES, MapSettings
from covidxr.errors import ConfigError
from covidxr.models.architectures import architecture

_FINER = {"resnet18": "layer3", "efficientnet_b0": "features.5", "poster_cnn": "relu1"}
"""A layer before the table's own, on a grid of twice the rows or more."""


def candidates(name: str) -> tuple[MapSettings, ...]:
    """Return all kinds of maps that are measured for a network, by its name in the table of architectures; the textbook's first."""
    last = architecture(name).target_layer
    finer = _FINER.get(name, last)
    kinds = (
        MapSettings("gradcam", last, "logit"),
        MapSettings("gradcam", last, "logit", "nearest"),
        MapSettings("gradcam", last),
        MapSettings("gradcam", finer, "logit"),
        MapSettings("gradcam", finer),
        MapSettings("gradcam", finer, interpolation="nearest"),
        MapSettings("hirescam", last),
        MapSettings("hirescam", last, smoothing=0.06),
        MapSettings("hirescam", finer, "logit", smoothing=0.06),
        MapSettings("hirescam", finer),
        MapSettings("hirescam", finer, smoothing=0.03),
        MapSettings("hirescam", finer, smoothing=0.06),
        MapSettings("integrated-gradients"),
        MapSettings("integrated-gradients", smoothing=0.02),
        MapSettings("gradient-shap"),
        MapSettings("gradient-shap", smoothing=0.02),
        MapSettings("occlusion", window=0.25),
        MapSettings("occlusion", window=0.25, smoothing=0.06),
        MapSettings("occlusion", window=0.4),
    )
    return tuple(dict.fromkeys(kinds))


def default_settings(name: str, method: str) -> MapSettings:
    """Return the first of the measured kinds of a method. Raises ConfigError for a method that there is not."""
    if method not in METHOD_TITLES:
        raise ConfigError(f"there is no heat map {method!r}; there are {', '.join(METHOD_TITLES)}")
    return next(settings for settings in candidates(name) if settings.method == method)
