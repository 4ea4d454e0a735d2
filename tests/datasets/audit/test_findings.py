"""Faults are planted in a dataset of phantoms; each check must find its own and nothing else."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from covidxr.datasets.audit import findings
from covidxr.datasets.audit.facts import Facts, measure
from covidxr.datasets.audit.findings import Finding
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.pixels import Pixels, decode
from covidxr.datasets.splits import group_samples, split_dataset
from covidxr.records import CLASS_NAMES, SplitPlan


@dataclass(frozen=True)
class Planted:
    dataset: Dataset
    facts: Facts
    thumbnails: Pixels
    duplicates: np.ndarray


def read(folder: Path, class_name: str, number: int) -> Image.Image:
    with Image.open(folder / class_name / "images" / f"{class_name}-{number}.png") as image:
        return image.convert("L")


def written_on(image: Image.Image) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).rectangle((0, 0, 75, 14), fill=20)
    ImageDraw.Draw(image).text((2, 1), "H I 2 O 2 O", fill=255)
    return image


def with_arrow(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    ImageDraw.Draw(image).polygon([(20, 60), (36, 66), (20, 72)], fill=(255, 0, 0))
    return image


def burnt(image: Image.Image) -> Image.Image:
    return image.point([min(255, 2 * v) for v in range(256)])


FAULTS = {
    "nearly-black": {
        11: lambda p: p.point([v // 16 for v in range(256)]),
        12: lambda p: Image.new("L", p.size, 0),
    },
    "nearly-white": {
        13: lambda p: Image.new("L", p.size, 255),
        14: lambda p: p.point([240 + v // 18 for v in range(256)]),
    },
    "blank": {
        15: lambda p: Image.new("L", p.size, 120),
        16: lambda p: Image.fromarray(
            np.tile(np.linspace(60, 200, p.width), (p.height, 1)).astype(np.uint8)
        ),
    },
    "inverted": {
        number: lambda p: p.point([255 - v for v in range(256)]) for number in (17, 18, 19)
    },
    "clipped": dict.fromkeys((20, 21), burnt),
    "blurred": {number: lambda p: p.filter(ImageFilter.GaussianBlur(2)) for number in (22, 23, 24)},
    "tiny": {25: lambda p: p.resize((100, 100)), 26: lambda p: p.resize((127, 127))},
    "stripe": {27: lambda p: p.resize((300, 140)), 28: lambda p: p.resize((140, 290))},
    "coloured": {
        29: with_arrow,
        30: lambda p: Image.merge("RGB", (p, p, p.point([v // 2 for v in range(256)]))),
    },
    "written-on": dict.fromkeys((31, 32, 33), written_on),
}
"""Change of each COVID phantom, by check and number."""
EXACT = {
    ("Normal/images/Normal-1.png", "Normal/images/Normal-901.png"),
    ("COVID/images/COVID-1.png", "Normal/images/Normal-902.png"),
}
NEAR = {
    ("Normal/images/Normal-5.png", "Normal/images/Normal-903.jpg"),
    ("Viral Pneumonia/images/Viral Pneumonia-5.png", "Lung_Opacity/images/Lung_Opacity-904.jpg"),
}


def similar_phantoms(phantoms: Path) -> set[str]:
    """Phantoms similar to another one, to be removed so that only planted duplicates remain."""
    dataset = open_dataset(phantoms)
    pixels = decode(dataset, THUMBNAIL)
    similar = np.triu(
        np.corrcoef(pixels.array.reshape(len(pixels.array), -1).astype(float)) > 0.95, k=1
    )
    spared = {file for pair in EXACT | NEAR for file in pair}
    return {
        pixels.files[b if pixels.files[a] in spared else a]
        for a, b in np.argwhere(similar).tolist()
    }


@pytest.fixture(scope="module")
def planted(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted") / "planted"
    for images in phantoms.glob("*/images"):
        shutil.copytree(images, folder / images.relative_to(phantoms))
    shutil.copy(phantoms / "sources.csv", folder)
    for file in similar_phantoms(phantoms):
        (folder / file).unlink()
    for changes in FAULTS.values():
        for number, change in changes.items():
            change(read(folder, "COVID", number)).save(folder / f"COVID/images/COVID-{number}.png")
    for original, copy in EXACT:
        with Image.open(folder / original) as image:
            image.save(folder / copy, compress_level=1)  # other bytes, the same pixels
    for original, copy in NEAR:
        with Image.open(folder / original) as image:
            image.point([round(255 * (v / 255) ** 1.2) for v in range(256)]).save(
                folder / copy, quality=60
            )
    dataset = open_dataset(folder)
    thumbnails = decode(dataset, THUMBNAIL)
    return Planted(dataset, measure(dataset), thumbnails, find_near_duplicates(dataset, thumbnails))


def as_sets(groups: object) -> set[frozenset[str]]:
    return {frozenset(group) for group in groups}  # type: ignore[attr-defined]


def by_check(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize("check", FAULTS)
def test_each_fault_is_found_and_nothing_else(planted: Planted, check: str) -> None:
    found = by_check(findings.find_faults(planted.facts))
    assert list(found) == list(FAULTS)
    assert {Path(file).stem for file in found[check].files} == {
        f"COVID-{number}" for number in FAULTS[check]
    }
    assert all(len(group) == 1 for group in found[check].groups)
    assert found[check].sentence.startswith(f"{len(FAULTS[check])} images are ")


def test_images_without_faults_have_no_findings(planted: Planted) -> None:
    clean = [sample.file for sample in planted.dataset.samples if sample.label != 1]
    for finding in findings.find_faults(planted.facts.take(clean)):
        assert finding.groups == ()
        assert finding.sentence.startswith("No image is ")


def test_duplicates_and_conflicts_are_found_and_nothing_else(planted: Planted) -> None:
    found = by_check(findings.find_copies(planted.dataset, planted.facts, planted.duplicates))
    assert as_sets(found["exact-duplicates"].groups) == as_sets(EXACT)
    assert as_sets(found["near-duplicates"].groups) == as_sets(EXACT | NEAR)
    assert as_sets(found["label-conflicts"].groups) == {
        frozenset({"COVID/images/COVID-1.png", "Normal/images/Normal-902.png"}),
        frozenset(
            {
                "Viral Pneumonia/images/Viral Pneumonia-5.png",
                "Lung_Opacity/images/Lung_Opacity-904.jpg",
            }
        ),
    }
    assert found["exact-duplicates"].sentence.startswith(
        "4 images in 2 groups are identical in every pixel."
    )


def test_images_of_a_single_gray_value_are_no_duplicates(planted: Planted) -> None:
    rows = [1, 2]
    facts = planted.facts.take([planted.dataset.samples[row].file for row in rows])
    similar = replace(facts, pixel_hash=np.array(["a", "a"]), contrast=np.array([0.0, 0.0]))
    two = replace(planted.dataset, samples=tuple(planted.dataset.samples[row] for row in rows))
    none = np.empty((0, 2), dtype=np.int64)
    assert all(finding.groups == () for finding in findings.find_copies(two, similar, none))
    assert (
        len(
            findings.find_copies(two, replace(similar, contrast=np.array([9.0, 9.0])), none)[
                0
            ].groups
        )
        == 1
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_leakage_is_that_of_the_split_and_grouped_splits_have_none(
    planted: Planted, seed: int
) -> None:
    groups = group_samples(planted.dataset.samples, planted.duplicates)
    grouped = split_dataset(planted.dataset, SplitPlan("grouped", seed), groups)
    assert all(
        finding.groups == ()
        for finding in findings.find_leaks(planted.dataset, grouped, planted.duplicates)
    )

    torn = split_dataset(planted.dataset, SplitPlan("stratified", seed), groups)
    found = by_check(findings.find_leaks(planted.dataset, torn, planted.duplicates))
    where = dict(zip(torn.files, torn.names.tolist(), strict=True))
    patients: dict[str, set[str]] = {}
    for sample in planted.dataset.samples:
        if sample.patient_id:
            patients.setdefault(sample.patient_id, set()).add(sample.file)
    expected = {frozenset(p) for p in patients.values() if len({where[file] for file in p}) > 1}
    assert len(expected) > 5
    assert as_sets(found["patients-across-splits"].groups) == expected
    assert as_sets(found["twins-across-splits"].groups) == {
        frozenset(g) for g in EXACT | NEAR if where[g[0]] != where[g[1]]
    }


def test_mean_and_standard_deviation_of_each_class(planted: Planted) -> None:
    images = findings.mean_images(planted.dataset, planted.thumbnails)
    assert [image.class_name for image in images] == list(CLASS_NAMES)
    rows = [i for i, sample in enumerate(planted.dataset.samples) if sample.label == 2]
    own = planted.thumbnails.array[
        planted.thumbnails.rows([planted.dataset.samples[i].file for i in rows])
    ].astype(float)
    assert images[2].n == len(rows)
    assert images[2].mean == pytest.approx(own.sum(axis=0) / len(rows))
    assert images[2].std == pytest.approx(
        np.sqrt(((own - own.sum(axis=0) / len(rows)) ** 2).sum(axis=0) / len(rows))
    )


@pytest.mark.slow
def test_a_projection_is_a_seeded_sample(planted: Planted) -> None:
    laid = findings.project(planted.dataset, planted.thumbnails, most=60)
    assert laid.points.shape == (60, 2)
    assert np.isfinite(laid.points).all()
    assert len(set(laid.rows.tolist())) == 60
    assert laid.rows.tolist() == sorted(laid.rows.tolist())
    again = findings.project(planted.dataset, planted.thumbnails, most=60)
    assert np.array_equal(again.points, laid.points)
    assert np.array_equal(again.rows, laid.rows)


def test_findings_become_a_list_of_exclusions() -> None:
    copies = Finding(
        "exact-duplicates", "Exact duplicates", "", (("a", "b", "c"), ("d", "e")), keeps_one=True
    )
    blank = Finding("blank", "Blank", "", (("b",), ("f",)))
    assert findings.exclusions([copies, blank]) == (
        ("b", "Exact duplicates: a is kept"),
        ("c", "Exact duplicates: a is kept"),
        ("e", "Exact duplicates: d is kept"),
        ("f", "Blank"),
    )


def test_advised_exclusions_are_existing_checks(planted: Planted) -> None:
    made = {
        *by_check(findings.find_faults(planted.facts)),
        *by_check(findings.find_copies(planted.dataset, planted.facts, planted.duplicates)),
    }
    assert set(findings.ADVISED) < made


def test_exclusions_remove_all_duplicates(planted: Planted) -> None:
    listed = findings.exclusions(
        findings.find_copies(planted.dataset, planted.facts, planted.duplicates)
    )
    rest = planted.dataset.without(listed)
    facts = planted.facts.take([sample.file for sample in rest.samples])
    assert all(
        f.groups == ()
        for f in findings.find_copies(rest, facts, find_near_duplicates(rest, planted.thumbnails))
    )


def test_findings_are_written_as_a_table(planted: Planted) -> None:
    split = split_dataset(
        planted.dataset, SplitPlan(), group_samples(planted.dataset.samples, planted.duplicates)
    )
    found = findings.find_copies(planted.dataset, planted.facts, planted.duplicates)
    rows = list(csv.DictReader(io.StringIO(findings.findings_csv(found, planted.dataset, split))))
    exact = [row for row in rows if row["finding"] == "exact-duplicates"]
    assert [row["group"] for row in exact] == ["1", "1", "2", "2"]
    own = next(row for row in exact if row["file"] == "Normal/images/Normal-1.png")
    assert (own["class"], own["source"]) == ("Normal", "phantom")
    assert own["split"] == split.names[split.files.index("Normal/images/Normal-1.png")]
    assert all(
        row["split"] == ""
        for row in csv.DictReader(io.StringIO(findings.findings_csv(found, planted.dataset, None)))
    )
