from __future__ import annotations

import pytest
import torch

from covidxr.errors import ConfigError
from covidxr.models.architectures import ARCHITECTURES, architecture, build_network


def test_the_baseline_study_s_network_is_reproduced() -> None:
    network = build_network("poster_cnn", 4, 128).eval()
    assert sum(p.numel() for p in network.parameters()) == 9_826
    assert isinstance(network, torch.nn.Sequential)
    kinds = [type(m).__name__ for m in network]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d"] * 2 + [
        "Flatten",
        "Linear",
        "ReLU",
        "Linear",
        "ReLU",
        "Linear",
        "LogSoftmax",
    ]
    output = network(torch.zeros(2, 3, 128, 128))
    assert output.shape == (2, 4)
    assert torch.allclose(output.exp().sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_as_described(name: str) -> None:
    row = architecture(name)
    network = build_network(name, 3, 128).eval()
    seen: dict[str, torch.Size] = {}
    network.get_submodule(row.target_layer).register_forward_hook(
        lambda m, i, o: seen.update(shape=o.shape)
    )
    assert network(torch.zeros(1, 3, 128, 128)).shape == (1, 3)
    assert len(seen["shape"]) == 4
    assert seen["shape"][-1] > 1
    assert any(k.startswith(row.head) for k in network.state_dict())
    for stage in row.stages:
        for module in stage:
            network.get_submodule(module)


def test_unknown_names_and_sizes_are_rejected() -> None:
    with pytest.raises(
        ConfigError, match="no architecture 'vgg'; there are poster_cnn, resnet18, efficientnet_b0"
    ):
        build_network("vgg", 4, 128)
    with pytest.raises(
        ConfigError, match="poster_cnn takes images of 100 to 163 pixels, got image_size 224"
    ):
        build_network("poster_cnn", 4, 224)
