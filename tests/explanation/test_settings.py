"""The attribution settings that are evaluated."""

from __future__ import annotations

from covidxr.cards import METHOD_TITLES
from covidxr.explanation.settings import candidates
from covidxr.models.architectures import ARCHITECTURES


def test_every_method_has_ordered_candidates() -> None:
    for name in ("resnet18", "poster_cnn", "efficientnet_b0"):
        assert [s.method for s in dict.fromkeys(candidates(name))] == [
            s.method for s in candidates(name)
        ]
        assert {s.method for s in candidates(name)} == set(METHOD_TITLES)
        network = ARCHITECTURES[name].build(4)
        for settings in candidates(name):
            network.get_submodule(settings.layer)
