"""ImageNet weights: files of them, and their download."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from covidxr.errors import ConfigError, ModelError
from covidxr.models.architectures import build_network
from covidxr.models.pretrained import load_imagenet


def full_resnet() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    weights: dict[str, torch.Tensor] = torchvision.models.resnet18(num_classes=1000).state_dict()
    return weights


def test_a_complete_file_initializes_all_but_the_head(tmp_path: Path) -> None:
    weights = full_resnet()
    save_file(weights, tmp_path / "w.safetensors")
    network = build_network("resnet18", 4, 128)
    head = network.state_dict()["fc.weight"].clone()
    origin = load_imagenet(network, "resnet18", tmp_path / "w.safetensors")
    state = network.state_dict()
    assert all(torch.equal(state[k], v) for k, v in weights.items() if not k.startswith("fc."))
    assert torch.equal(state["fc.weight"], head)
    assert origin == f"weights from the file {tmp_path.name}/w.safetensors"


def test_a_missing_block_starts_as_the_identity(tmp_path: Path) -> None:
    weights = {
        k: v.half() if v.ndim == 4 else v
        for k, v in full_resnet().items()
        if not k.startswith(("fc.", "layer4.1."))
    }
    save_file(weights, tmp_path / "w.safetensors")
    network = build_network("resnet18", 4, 128).eval()
    origin = load_imagenet(network, "resnet18", tmp_path / "w.safetensors")
    assert "layer4.1 not included and initialized as the identity" in origin
    x = torch.rand(2, 512, 4, 4)
    assert torch.equal(network.get_submodule("layer4.1")(x), x)
    assert network.get_parameter("conv1.weight").dtype == torch.float32


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(full_resnet(), tmp_path / "w.safetensors")
    monkeypatch.setenv("COVIDXR_PRETRAINED", str(tmp_path / "w.safetensors"))
    assert "w.safetensors" in load_imagenet(build_network("resnet18", 4, 128), "resnet18", None)


@pytest.mark.parametrize("missing", ["layer2.0.", "conv1.", "layer4.0."])
def test_a_file_that_lacks_more_is_rejected(tmp_path: Path, missing: str) -> None:
    save_file(
        {k: v for k, v in full_resnet().items() if not k.startswith(missing)},
        tmp_path / "w.safetensors",
    )
    with pytest.raises(ModelError, match="do not fit resnet18"):
        load_imagenet(build_network("resnet18", 4, 128), "resnet18", tmp_path / "w.safetensors")


def test_pickled_weights_are_rejected(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(1)}, buffer)
    (tmp_path / "w.pth").write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match=r"not a safetensors file .* pickled weights are rejected"):
        load_imagenet(build_network("resnet18", 4, 128), "resnet18", tmp_path / "w.pth")
    with pytest.raises(ModelError, match="there is no weights file"):
        load_imagenet(build_network("resnet18", 4, 128), "resnet18", tmp_path / "absent")


def test_a_failed_download_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COVIDXR_PRETRAINED", raising=False)

    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", offline)
    with pytest.raises(ConfigError, match=r"cannot download .* --init or COVIDXR_PRETRAINED"):
        load_imagenet(build_network("resnet18", 4, 128), "resnet18", None)
    with pytest.raises(ConfigError, match="no ImageNet weights for poster_cnn"):
        load_imagenet(build_network("poster_cnn", 4, 128), "poster_cnn", None)


@pytest.mark.data
def test_the_weights_stored_with_the_data(database: Path) -> None:
    file = next((database.parent / "pretrained").glob("resnet18*.safetensors"))
    network = build_network("resnet18", 4, 224).eval()
    load_imagenet(network, "resnet18", file)
    # ImageNet's first filters are smooth: neighboring weights are correlated, unlike random ones.
    filters = network.get_parameter("conv1.weight").detach()
    neighbors = np.corrcoef(filters[..., 1:].flatten(), filters[..., :-1].flatten())[0, 1]
    assert neighbors > 0.15
    with torch.inference_mode():
        assert np.isfinite(network(torch.rand(1, 3, 224, 224)).numpy()).all()
