from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from covidxr.datasets import pixels
from covidxr.datasets.audit import facts
from covidxr.datasets.audit.dataset_audit import audit_dataset, audit_json, project_audit
from covidxr.datasets.opening import open_dataset
from covidxr.errors import Cancelled, DatasetError
from covidxr.records import SplitPlan

pytestmark = pytest.mark.usefixtures("phantom_models")


def test_an_audit_is_cached(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))
    seen: list[tuple[int, int]] = []
    first = audit_json(
        audit_dataset(
            open_dataset(phantoms),
            SplitPlan(),
            watch=lambda done, total: seen.append((done, total)),
        )
    )
    assert seen == [(i, 320) for i in range(1, 321)]
    for room, name in ((facts, "measure_file"), (pixels, "read_image")):
        monkeypatch.setattr(room, name, lambda *_: pytest.fail("decoded again"))
    again = audit_json(
        audit_dataset(
            open_dataset(phantoms),
            SplitPlan(),
            watch=lambda *_: pytest.fail("nothing is to be done"),
        )
    )
    assert again == first
    assert json.loads(json.dumps(first, allow_nan=False)) == first


def test_an_audit_uses_the_requested_split(phantoms: Path) -> None:
    grouped = audit_dataset(open_dataset(phantoms), SplitPlan("grouped"))
    stratified = audit_dataset(open_dataset(phantoms), SplitPlan("stratified", 3))
    assert audit_json(stratified)["split"] == {"protocol": "stratified", "seed": 3}
    for check in ("twins-across-splits", "patients-across-splits"):
        assert grouped.found(check).groups == ()
    assert len(stratified.found("patients-across-splits").groups) > 5
    result = audit_json(grouped)
    assert result["n"] == 160
    assert result["synthetic"]
    assert result["exact_duplicate_groups"] == []
    assert all(
        isinstance(group, list) and len(group) > 1 for group in result["near_duplicate_groups"]
    )
    assert {"property", "auroc"} <= set(result["spurious"][0])
    assert {
        entry["auroc"]
        for entry in result["spurious"]
        if entry["property"] in ("size", "format", "aspect_ratio")
    } == {0.5}


@pytest.fixture
def copy(phantoms: Path, tmp_path: Path) -> Path:
    """Twelve phantoms of each class that a test may damage."""
    for folder in phantoms.glob("*/images"):
        own = tmp_path / "copy" / folder.relative_to(phantoms)
        own.mkdir(parents=True)
        for number in range(1, 13):
            shutil.copy(folder / f"{folder.parent.name}-{number}.png", own)
    return tmp_path / "copy"


def test_a_dataset_that_cannot_be_split_is_still_audited(copy: Path) -> None:
    for number in range(3, 13):
        (copy / f"COVID/images/COVID-{number}.png").unlink()
    audit = audit_dataset(open_dataset(copy), SplitPlan())
    assert audit.split is None
    assert "has no COVID" in audit.not_divided
    assert len(audit.dataset.samples) == 38
    with pytest.raises(KeyError):
        audit.found("twins-across-splits")
    assert audit_json(audit)["split"] is None


def test_an_unreadable_image_is_named_or_skipped(copy: Path) -> None:
    (copy / "COVID/images/COVID-3.png").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"COVID-3\.png.*--skip-unreadable"):
        audit_dataset(open_dataset(copy), SplitPlan())
    result = audit_json(audit_dataset(open_dataset(copy), SplitPlan(), skip_unreadable=True))
    assert result["n"] == 47
    assert [entry["file"] for entry in result["skipped"]] == ["COVID/images/COVID-3.png"]


def test_an_audit_can_be_stopped(copy: Path) -> None:
    def stop_late(done: int, total: int) -> None:
        if done == 60:
            raise Cancelled

    with pytest.raises(Cancelled):
        audit_dataset(open_dataset(copy), SplitPlan(), watch=stop_late)


def test_the_command_writes_issues_and_exclusions(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from covidxr.cli import datasets
    from covidxr.datasets.exclusions import read_exclusions
    from covidxr.errors import ConfigError

    shutil.copy(copy / "Normal/images/Normal-2.png", copy / "Normal/images/Normal-99.png")
    Image.new("L", (128, 128), 0).save(copy / "COVID/images/COVID-5.png")
    datasets.audit(
        data=copy, out=tmp_path / "found.csv", exclude_to=tmp_path / "excluded.csv", as_json=True
    )
    result = json.loads(capsys.readouterr().out)
    assert result["exact_duplicate_groups"] == [
        ["Normal/images/Normal-2.png", "Normal/images/Normal-99.png"]
    ]
    assert (
        (tmp_path / "found.csv")
        .read_text("utf-8")
        .startswith("finding,group,file,class,source,split\nexact-duplicates,1,")
    )
    assert [file for file, _ in read_exclusions(tmp_path / "excluded.csv")] == [
        "Normal/images/Normal-99.png",
        "COVID/images/COVID-5.png",
    ]
    assert result["excluded"] == 2
    datasets.audit(data=copy, exclude_to=tmp_path / "excluded.csv", exclude=["nearly-black"])
    assert "1 image to exclude" in capsys.readouterr().out
    assert read_exclusions(tmp_path / "excluded.csv") == (
        ("COVID/images/COVID-5.png", "Nearly black"),
    )
    with pytest.raises(
        ConfigError, match=r"--exclude must be one of exact-duplicates, .*, got ugly"
    ):
        datasets.audit(data=copy, exclude_to=tmp_path / "excluded.csv", exclude=["ugly"])
    with pytest.raises(ConfigError, match="name its file with --exclude-to"):
        datasets.audit(data=copy, exclude=["blank"])


@pytest.mark.data
@pytest.mark.slow
def test_known_issues_of_the_database_are_found(database: Path) -> None:
    audit = audit_dataset(open_dataset(database), SplitPlan())
    covid = {
        file
        for group in audit.found("near-duplicates").groups
        for file in group
        if file.startswith("COVID/")
    }
    assert 450 < len(covid) < 600  # one in seven of 3,616
    assert set(audit.found("inverted").files) == {
        f"Normal/images/Normal-{number}.jpg" for number in (7771, 8594, 9232)
    }
    assert set(audit.found("blank").files) == {
        f"COVID/images/COVID-{number}.jpg" for number in (698, 1523)
    }
    assert (
        audit.found("twins-across-splits").groups
        == audit.found("patients-across-splits").groups
        == ()
    )
    torn = audit_dataset(open_dataset(database), SplitPlan("stratified"))
    assert len(torn.found("twins-across-splits").groups) > 80
    assert len(torn.found("patients-across-splits").groups) > 100
    ranked = {spurious.property: spurious for spurious in audit.spurious}
    assert ranked["brightness"].class_name == "COVID"
    # The development copy has images of one size and format.
    assert ranked["size"].auroc == ranked["format"].auroc == 0.5
    laid = project_audit(audit)
    assert laid.points.shape == (1500, 2)

    started = time.perf_counter()
    audit_dataset(open_dataset(database), SplitPlan())
    assert time.perf_counter() - started < 20  # nothing is decoded or measured again
