"""The kinds of heat maps that are measured for a network, and those that serve where none was measured."""

from __future__ import annotations

from covidxr.cards import METHOD_TITLES, MapSettings, ModelCard
from covidxr.errors import ConfigError
from covidxr.explanation.localization import best_localisation
from covidxr.models.architectures import architecture


def candidates(name: str) -> tuple[MapSettings, ...]:
    """Return all kinds of maps that are measured for a network, by its name in the table of architectures; the textbook's first."""
    last, finer = architecture(name).target_layer, architecture(name).finer_layer
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


def map_settings(card: ModelCard, method: str = "") -> MapSettings:
    """Return how a model's maps are made: those that gained most on val, of all or of one method, else the textbook's.

    Raises ConfigError for a method that there is not.
    """
    best = best_localisation(card, method)
    if best and best.settings:
        return best.settings
    return default_settings(card.architecture, method or "gradcam")
