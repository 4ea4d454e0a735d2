"""The public API: every name is there, documented, and loaded only when it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import covidxr
from covidxr.prediction.cases import sample_phantom


@pytest.mark.parametrize("name", covidxr.__all__)
def test_every_name_is_documented(name: str) -> None:
    documentation = inspect.getdoc(getattr(covidxr, name)) or ""
    assert "Args:" in documentation or not inspect.signature(getattr(covidxr, name)).parameters
    assert "Returns:" in documentation or "Yields:" in documentation or len(documentation) < 200


def test_the_list_is_sorted_and_whole() -> None:
    assert covidxr.__all__ == sorted(covidxr._HOMES)
    assert set(covidxr.__all__) <= set(dir(covidxr))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = covidxr.absent


def test_importing_the_package_loads_no_library() -> None:
    code = "import covidxr, sys; print(sorted({'numpy', 'torch', 'pandas'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.usefixtures("phantom_models")
def test_the_quick_start_works(tmp_path: Path) -> None:
    Image.fromarray(sample_phantom("COVID")).save(tmp_path / "scan.png")
    classifier = covidxr.load_classifier("phantom-cnn")
    prediction = classifier.predict(covidxr.read_radiograph(tmp_path / "scan.png"))
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.predicted in classifier.card.class_names
