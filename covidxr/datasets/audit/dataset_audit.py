"""The audit of a dataset, from its path to its findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from covidxr.datasets.audit import findings as room
from covidxr.datasets.audit.facts import Facts, measure
from covidxr.datasets.audit.findings import ClassPicture, Finding, Projection
from covidxr.datasets.audit.properties import Spurious, rank_properties
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.pixels import Pixels, decode
from covidxr.datasets.splits import Split, group_samples, split_dataset
from covidxr.errors import DatasetError
from covidxr.records import Labels, SplitPlan


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """What is known about a dataset whose unreadable images are out."""

    dataset: Dataset
    thumbnails: Pixels
    facts: Facts
    """In the order of the dataset's samples."""
    split: Split | None
    not_divided: str
    """Why there is no split, and so no check of leaks; empty where there is one."""
    findings: tuple[Finding, ...]
    """Every check that was made, those that found nothing too."""
    spurious: tuple[Spurious, ...]
    pictures: tuple[ClassPicture, ...]

    def found(self, check: str) -> Finding:
        """Return what a check found. Raises KeyError for a check that was not made."""
        return {finding.check: finding for finding in self.findings}[check]


def audit_dataset(
    dataset: Dataset,
    plan: SplitPlan,
    skip_unreadable: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Open a dataset, decode and measure its images, find its twins, divide it by a plan, and say what is wrong with it.

    A dataset that the plan cannot divide is audited all the same, but for its leaks.
    watch: told how many steps of how many are done, two for each image that is in no cache; what it raises ends the audit.
    Raises DatasetError for a wrong folder, a missing class or, unless `skip_unreadable`, an image that cannot be read.
    """
    thumbnails = decode(
        dataset, THUMBNAIL, skip_unreadable, lambda done, total: watch(done, 2 * total)
    )
    dataset = dataset.without(thumbnails.skipped)
    facts = measure(dataset, lambda done, total: watch(total + done, 2 * total))
    twins = find_near_duplicates(dataset, thumbnails)
    split, reason = None, ""
    try:
        split = split_dataset(dataset, plan, group_samples(dataset.samples, twins))
    except DatasetError as error:
        reason = str(error)
    findings = (
        *room.find_copies(dataset, facts, twins),
        *(room.find_leaks(dataset, split, twins) if split else ()),
        *room.find_faults(facts),
    )
    labels: Labels = np.array([sample.label for sample in dataset.samples], dtype=np.int64)
    spurious = rank_properties(labels, facts, dataset.class_names)
    return Audit(
        dataset,
        thumbnails,
        facts,
        split,
        reason,
        findings,
        spurious,
        room.average_pictures(dataset, thumbnails),
    )


def project_audit(audit: Audit, seed: int = 0) -> Projection:
    """Lay a sample of the audited pictures out on a plane (`covidxr.datasets.audit.findings.project`); takes some seconds."""
    return room.project(audit.dataset, audit.thumbnails, seed=seed)


def audit_json(audit: Audit) -> dict[str, Any]:
    """Return an audit as one JSON object; files are relative to the dataset."""
    return {
        "data": str(audit.dataset.path),
        "synthetic": audit.dataset.synthetic,
        "fingerprint": audit.dataset.fingerprint,
        "n": len(audit.dataset.samples),
        "split": {"protocol": audit.split.plan.protocol, "seed": audit.split.plan.seed}
        if audit.split
        else None,
        "not_divided": audit.not_divided,
        "exact_duplicate_groups": [list(group) for group in audit.found("exact-duplicates").groups],
        "near_duplicate_groups": [list(group) for group in audit.found("near-duplicates").groups],
        "findings": [
            {
                "check": finding.check,
                "title": finding.title,
                "sentence": finding.sentence,
                "n": len(finding.files),
                "groups": [list(group) for group in finding.groups],
            }
            for finding in audit.findings
        ],
        "spurious": [
            {
                "property": spurious.property,
                "class": spurious.class_name or None,
                "auroc": spurious.auroc,
                "by_class": spurious.by_class,
                "by_chance": spurious.by_chance,
                "sentence": spurious.sentence,
            }
            for spurious in audit.spurious
        ],
        "skipped": [{"file": file, "reason": reason} for file, reason in audit.dataset.skipped],
    }
