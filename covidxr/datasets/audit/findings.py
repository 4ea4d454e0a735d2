"""Data quality issues of a dataset: duplicates, leakage and faulty images.

Every threshold was set by viewing what it flags and what it barely misses (docs/audit.md).
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from covidxr.datasets.audit.facts import Facts
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.pixels import Pixels
from covidxr.datasets.splits import Split, components
from covidxr.formatting import count
from covidxr.images.burned_in_text import MIN_LETTERS
from covidxr.images.quality import (
    INVERTED,
    MAX_ASPECT,
    MAX_BLACK_MIDDLE,
    MAX_WHITE_MIDDLE,
    MIN_DETAIL,
    MIN_SHARPNESS,
    NEARLY_BLACK,
    NEARLY_WHITE,
    Numbers,
)
from covidxr.storage import csv_safe

MIN_SHORT_EDGE = 128
"""Input size of the baseline study's networks, in pixels."""
MIN_COLOR = 5.0
"""Gray images saved as color JPEG are below 1; a colored arrow on 0.5% of the image is above 15."""
ADVISED = ("exact-duplicates", "nearly-black", "nearly-white", "blank", "inverted")
"""Checks whose images can be excluded without review."""

_FAULTS = (
    ("nearly-black", "Nearly black", "nearly black: not diagnostic."),
    ("nearly-white", "Nearly white", "nearly white: not diagnostic."),
    ("blank", "Blank", "blank in the center, where the chest should be."),
    ("inverted", "Inverted", "inverted, with dark bones and bright lungs: check for MONOCHROME1."),
    (
        "clipped",
        "Over- or underexposed",
        "over- or underexposed in the center: gray values are clipped.",
    ),
    ("blurred", "Blurred", "blurred: fine detail is lost."),
    (
        "tiny",
        "Low resolution",
        f"smaller than {MIN_SHORT_EDGE} px on the short side, the baseline study's input size.",
    ),
    (
        "stripe",
        "Unusual aspect ratio",
        "more than twice as long as wide: probably cropped or stitched.",
    ),
    ("coloured", "Color images", "in color: check for annotations or screenshots."),
    (
        "written-on",
        "Burned-in text",
        "likely to contain burned-in text, which a model may use as a shortcut. "
        "Short or small text may be missed.",
    ),
)
"""Check, title and sentence, in the order of `find_faults`."""

Pairs = npt.NDArray[np.int64]
"""(P, 2) positions of samples."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Issues found by one check: groups of related files, or groups of one for single images."""

    check: str
    title: str
    sentence: str
    groups: tuple[tuple[str, ...], ...]
    keeps_one: bool = False
    """Whether excluding all but the first of each group resolves it."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the finding."""
        return tuple(file for group in self.groups for file in group)


@dataclass(frozen=True, slots=True, eq=False)
class MeanImage:
    """Mean and standard deviation of the `n` images of a class, (S, S) gray values each."""

    class_name: str
    n: int
    mean: Numbers
    std: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A sample of a dataset as points in 2-D: similar images are close.

    Distances between clusters mean little.
    """

    rows: npt.NDArray[np.int64]
    """(M,) positions in the dataset's samples, sorted."""
    points: Numbers
    """(M, 2)."""


def find_copies(dataset: Dataset, facts: Facts, duplicates: Pairs) -> tuple[Finding, ...]:
    """Find exact duplicates, near-duplicates (including exact ones) and label conflicts.

    Images of a single gray value do not count as duplicates; other checks find them.

    Args:
        dataset: With N samples.
        facts: Of its samples, in their order.
        duplicates: As found by `find_near_duplicates`.
    """
    names = [sample.file for sample in dataset.samples]
    labels = np.array([sample.label for sample in dataset.samples], dtype=np.int64)
    same: dict[str, list[str]] = defaultdict(list)
    for row in np.flatnonzero(facts.contrast > 0).tolist():
        same[str(facts.pixel_hash[row])].append(names[row])
    exact = tuple(tuple(group) for group in same.values() if len(group) > 1)
    near = _connected(duplicates, names)
    first, second = labels[duplicates].T
    conflicts = _connected(duplicates[first != second], names)
    return (
        Finding(
            "exact-duplicates",
            "Exact duplicates",
            f"{_groups(exact)} identical in every pixel. Duplicates inflate counts.",
            exact,
            keeps_one=True,
        ),
        Finding(
            "near-duplicates",
            "Near-duplicates",
            f"{_groups(near)} near-duplicates: re-saved, cropped or annotated copies, or very "
            "similar images. The grouped protocol keeps them in one split.",
            near,
            keeps_one=True,
        ),
        Finding(
            "label-conflicts",
            "Label conflicts",
            f"{_groups(conflicts)} near-duplicates with different labels: either a label is wrong "
            "or the images of two patients are very similar.",
            conflicts,
        ),
    )


def find_leaks(dataset: Dataset, split: Split, duplicates: Pairs) -> tuple[Finding, ...]:
    """Find near-duplicates and patients in more than one of train, val and test (leakage).

    Args:
        dataset: With N samples.
        split: Of its samples, in their order; the grouped protocol has no leakage.
        duplicates: As found by `find_near_duplicates`.
    """
    names = [sample.file for sample in dataset.samples]
    where = dict(zip(split.files, split.names.tolist(), strict=True))
    patients: dict[tuple[str | None, str], list[str]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.patient_id:
            patients[sample.source, sample.patient_id].append(sample.file)

    def leaked(groups: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(group) for group in groups if len({where[file] for file in group}) > 1)

    near, same_patient = leaked(_connected(duplicates, names)), leaked(patients.values())
    consequence = " Test performance will be optimistic; use the grouped protocol."
    return (
        Finding(
            "twins-across-splits",
            "Near-duplicates across splits",
            f"{_groups(near)} near-duplicates in different splits." + consequence * bool(near),
            near,
            keeps_one=True,
        ),
        Finding(
            "patients-across-splits",
            "Patients across splits",
            f"{_groups(same_patient)} of the same patient and in different splits."
            + consequence * bool(same_patient),
            same_patient,
            keeps_one=True,
        ),
    )


def find_faults(facts: Facts) -> tuple[Finding, ...]:
    """Find faulty images: nearly black or white, blank, inverted, clipped, blurred, and so on.

    Images that are nearly black, nearly white or blank are not reported as inverted, clipped,
    blurred or with burned-in text, too.
    """
    black, white = facts.brightness < NEARLY_BLACK, facts.brightness > NEARLY_WHITE
    blank = ~black & ~white & (facts.detail < MIN_DETAIL)
    shown = ~(black | white | blank)
    short, long = np.minimum(facts.width, facts.height), np.maximum(facts.width, facts.height)
    clipped = (facts.white_middle > MAX_WHITE_MIDDLE) | (facts.black_middle > MAX_BLACK_MIDDLE)
    masks = (
        black,
        white,
        blank,
        shown & (facts.polarity < INVERTED),
        shown & clipped,
        shown & (facts.sharpness < MIN_SHARPNESS),
        short < MIN_SHORT_EDGE,
        long > MAX_ASPECT * short,
        facts.colourfulness > MIN_COLOR,
        shown & (facts.letters >= MIN_LETTERS),
    )
    return tuple(
        Finding(
            check,
            title,
            f"{_images(int(found.sum()))} {sentence}",
            tuple((str(file),) for file in facts.files[found]),
        )
        for (check, title, sentence), found in zip(_FAULTS, masks, strict=True)
    )


def mean_images(dataset: Dataset, thumbnails: Pixels) -> tuple[MeanImage, ...]:
    """Return the mean image and the standard deviation of each class that has images."""
    means = []
    for k, name in enumerate(dataset.class_names):
        rows = thumbnails.rows([sample.file for sample in dataset.samples if sample.label == k])
        if len(rows):
            own = thumbnails.array[rows]
            means.append(MeanImage(name, len(rows), own.mean(axis=0), own.std(axis=0)))
    return tuple(means)


def project(dataset: Dataset, thumbnails: Pixels, most: int = 1500, seed: int = 0) -> Projection:
    """Embed a random sample of images in 2-D: 50 principal components, then t-SNE.

    Takes 10 s, or 30 s during a training. van der Maaten & Hinton 2008, "Visualizing data using
    t-SNE", JMLR 9:2579, with scikit-learn's defaults (perplexity 30).

    Args:
        dataset: With N samples.
        thumbnails: Of its samples.
        most: Largest number of images.
        seed: The same seed gives the same points on the same machine.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(dataset.samples)
    rows = np.sort(np.random.default_rng(seed).choice(n, min(most, n), replace=False))
    pixels = (
        thumbnails.array[thumbnails.rows([dataset.samples[row].file for row in rows])]
        .reshape(len(rows), -1)
        .astype(np.float32)
    )
    components = PCA(min(50, len(rows)), random_state=seed).fit_transform(pixels)
    points = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), random_state=seed).fit_transform(
        components
    )
    return Projection(rows.astype(np.int64), np.asarray(points, dtype=np.float64))


def exclusions(findings: Iterable[Finding]) -> tuple[tuple[str, str], ...]:
    """Return (file, reason) of the images to exclude to resolve the issues, each file once."""
    reasons: dict[str, str] = {}
    for finding in findings:
        for group in finding.groups:
            first = f": {group[0]} is kept" if finding.keeps_one else ""
            for file in group[1:] if finding.keeps_one else group:
                reasons.setdefault(file, f"{finding.title}{first}")
    return tuple(reasons.items())


def findings_csv(findings: Iterable[Finding], dataset: Dataset, split: Split | None) -> str:
    """Return the issues as CSV, `finding,group,file,class,source,split`; texts are `csv_safe`."""
    samples = {sample.file: sample for sample in dataset.samples}
    where = dict(zip(split.files, split.names.tolist(), strict=True)) if split else {}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["finding", "group", "file", "class", "source", "split"])
    for finding in findings:
        for number, group in enumerate(finding.groups, start=1):
            for file in group:
                own = samples[file]
                texts = file, dataset.class_names[own.label], own.source or "", where.get(file, "")
                writer.writerow([finding.check, number, *map(csv_safe, texts)])
    return text.getvalue()


def _connected(pairs: Pairs, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of files that pairs connect, directly or through others."""
    groups: dict[int, list[str]] = defaultdict(list)
    numbers = components(pairs, len(names))
    for row in np.unique(pairs).tolist():
        groups[int(numbers[row])].append(names[row])
    return tuple(tuple(group) for group in groups.values())


def _images(n: int) -> str:
    return "No image is" if n == 0 else "1 image is" if n == 1 else f"{n:,} images are"


def _groups(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return "No images are"
    return f"{count(sum(map(len, groups)))} in {count(len(groups), 'group')} are"
