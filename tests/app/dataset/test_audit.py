"""The audit of a dataset."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covidxr.datasets.audit.dataset_audit import audit_dataset
from covidxr.datasets.opening import open_dataset
from covidxr.records import SplitPlan

pytestmark = pytest.mark.slow


def test_images_with_an_issue_are_shown_and_excluded_from_training(
    open_section: Callable[..., AppTest],
    click: Callable[[AppTest, str], AppTest],
    phantoms: Path,
    tmp_path: Path,
    texts: Callable[[AppTest], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))
    audit = audit_dataset(open_dataset(phantoms), SplitPlan())
    issue = next(finding for finding in audit.findings if finding.groups)
    app = open_section("Audit")
    assert not app.exception
    shortcuts = app.dataframe[0].value
    assert list(shortcuts["AUROC"]) == [row.auroc for row in audit.spurious]

    excluded = len(issue.files) - (len(issue.groups) if issue.keeps_one else 0)
    app.multiselect[0].set_value([issue.title]).run()
    assert f"{excluded} of 160 images will be excluded." in texts(app)
    click(app, "Train with exclusions")
    listed = next(box for box in app.text_input if box.label == "Exclusion list").value
    assert listed is not None
    with Path(listed).open(newline="") as file:
        assert len(list(csv.DictReader(file))) == excluded

    app.switch_page("pages/dataset.py").run()
    app.segmented_control(key="dataset part").set_value("Audit").run()
    click(app, f"view {issue.check}")
    assert not app.exception
    assert f"{len(set(issue.files))} of 160 images" in texts(app)
