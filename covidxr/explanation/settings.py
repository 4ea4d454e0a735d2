"""Attribution settings: the configurations that are evaluated, and those used by default."""

from __future__ import annotations

from covidxr.cards import METHOD_TITLES, MapSettings, ModelCard
from covidxr.errors import ConfigError
from covidxr.explanation.localization import best_localisation
from covidxr.models.architectures import architecture

LAYER_METHODS = ("gradcam", "hirescam")
"""Methods that explain a layer: positive evidence only, and as fast as a prediction."""


def candidates(name: str) -> tuple[MapSettings, ...]:
    """Return the configurations that are evaluated for an architecture, the original ones first."""
    last, finer = architecture(name).target_layer, architecture(name).finer_layer
    configurations = (
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
    return tuple(dict.fromkeys(configurations))


def default_settings(name: str, method: str) -> MapSettings:
    """Return the original configuration of a method for an architecture.

    Raises:
        ConfigError: For an unknown method.
    """
    if method not in METHOD_TITLES:
        raise ConfigError(
            f"there is no attribution method {method!r}; there are {', '.join(METHOD_TITLES)}"
        )
    return next(settings for settings in candidates(name) if settings.method == method)


def map_settings(card: ModelCard, method: str = "") -> MapSettings:
    """Return the configuration of a model's heat maps.

    The one with the best localization on val, of all methods or of one; the original one where
    none was evaluated.

    Raises:
        ConfigError: For an unknown method.
    """
    best = best_localisation(card, method)
    if best and best.settings:
        return best.settings
    return default_settings(card.architecture, method or "gradcam")
