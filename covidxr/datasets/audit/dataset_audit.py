"""The audit of a dataset: duplicates, leakage, faulty images and shortcut features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from covidxr.datasets.audit.facts import Facts, measure
from covidxr.datasets.audit.findings import (
    Finding,
    MeanImage,
    Projection,
    find_copies,
    find_faults,
    find_leaks,
    mean_images,
    project,
)
from covidxr.datasets.audit.properties import Spurious, rank_properties
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.duplicates import THUMBNAIL, find_near_duplicates
from covidxr.datasets.pixels import Pixels, decode
from covidxr.datasets.splits import Split, group_samples, split_dataset
from covidxr.errors import DatasetError
from covidxr.records import Labels, SplitPlan


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """The audit of a dataset without its unreadable images."""

    dataset: Dataset
    thumbnails: Pixels
    facts: Facts
    """In the order of the dataset's samples."""
    split: Split | None
    not_divided: str
    """Why there is no split, and so no check of leakage; empty where there is one."""
    findings: tuple[Finding, ...]
    """Results of all checks, including those that found nothing."""
    spurious: tuple[Spurious, ...]
    pictures: tuple[MeanImage, ...]
    """Mean image of each class."""

    def found(self, check: str) -> Finding:
        """Return the result of a check.

        Raises:
            KeyError: For a check that was not made.
        """
        return {finding.check: finding for finding in self.findings}[check]


def audit_dataset(
    dataset: Dataset,
    plan: SplitPlan,
    skip_unreadable: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Audit a dataset.

    A dataset that cannot be split by the plan is not checked for leakage.

    Args:
        dataset: As opened.
        plan: How to split it.
        skip_unreadable: Whether to skip images that cannot be read.
        watch: Receives the number of finished steps and the total, two steps per image that is
            not cached; what it raises stops the audit.

    Raises:
        DatasetError: When an image cannot be read, unless `skip_unreadable`.
    """
    thumbnails = decode(
        dataset, THUMBNAIL, skip_unreadable, lambda done, total: watch(done, 2 * total)
    )
    dataset = dataset.without(thumbnails.skipped)
    facts = measure(dataset, lambda done, total: watch(total + done, 2 * total))
    duplicates = find_near_duplicates(dataset, thumbnails)
    split, reason = None, ""
    try:
        split = split_dataset(dataset, plan, group_samples(dataset.samples, duplicates))
    except DatasetError as error:
        reason = str(error)
    findings = (
        *find_copies(dataset, facts, duplicates),
        *(find_leaks(dataset, split, duplicates) if split else ()),
        *find_faults(facts),
    )
    labels: Labels = np.array([sample.label for sample in dataset.samples], dtype=np.int64)
    spurious = rank_properties(labels, facts, dataset.class_names)
    means = mean_images(dataset, thumbnails)
    return Audit(dataset, thumbnails, facts, split, reason, findings, spurious, means)


def project_audit(audit: Audit, seed: int = 0) -> Projection:
    """Embed a sample of the audited images in 2-D, as `covidxr.datasets.audit.findings.project`."""
    return project(audit.dataset, audit.thumbnails, seed=seed)


def audit_json(audit: Audit) -> dict[str, Any]:
    """Return an audit as a JSON object; files are relative to the dataset."""
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
