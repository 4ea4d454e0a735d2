"""The README: one page, measured tables equal to the cards, and links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import covidxr
from covidxr.models.recipes import RECIPES
from covidxr.records import RESEARCH_ONLY
from tools.results import BLOCKS, FILES, filled

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text("utf-8")
QUICK_START = (
    'covidxr.load_classifier("covidxr-resnet18").predict(covidxr.read_radiograph("scan.dcm"))'
)


def test_it_fits_on_a_page() -> None:
    assert len(README.splitlines()) <= 120
    assert README.count("![") == 1


def test_it_says_what_it_is_not() -> None:
    assert f"**{RESEARCH_ONLY}**" in README.split("##")[0]
    before = README.split("<!-- measured: summary -->")[0]
    assert "do not hold up on another collection" in before


def test_it_shows_the_quick_start() -> None:
    assert all(line in README for line in ("make app", "make test", QUICK_START))


@pytest.mark.parametrize("name", FILES)
def test_the_tables_are_what_the_cards_contain(name: str) -> None:
    text = (REPOSITORY / name).read_text("utf-8")
    assert "<!-- measured: " in text
    assert text == filled(text), f"{name} is out of date: run `make results`"


def test_every_table_is_shown_and_lists_every_model() -> None:
    shown = {
        block
        for name in FILES
        for block in re.findall(
            r"<!-- measured: ([a-z-]+) -->", (REPOSITORY / name).read_text("utf-8")
        )
    }
    assert shown == set(BLOCKS)
    for block in shown - {"segmenter", "split-effect"}:
        assert all(f"| `{model_id}` |" in BLOCKS[block]() for model_id in RECIPES), block


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (REPOSITORY / name).read_text("utf-8")):
        assert target.startswith("https://") or (REPOSITORY / target).exists(), target


@pytest.mark.slow
def test_the_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom
    from pydicom.uid import DigitalXRayImageStorageForPresentation, generate_uid

    from covidxr.prediction.cases import sample_phantom

    pixels = sample_phantom("COVID", seed=9)
    file = pydicom.Dataset()
    file.SOPClassUID, file.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    file.Modality, file.PhotometricInterpretation = "DX", "MONOCHROME2"
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.PixelData = pixels.tobytes()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    monkeypatch.delenv("COVIDXR_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)
    prediction = eval(QUICK_START, {"covidxr": covidxr})
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)
