"""The audit of a dataset: copies, leaks, and faulty pictures; what gives its classes away is in `properties`.

Every threshold was set by looking at what it flags and at what it barely misses; docs/audit.md says what was seen.
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
from covidxr.storage import defused

MIN_SHORT_EDGE = 128
"""Pixels that the smallest network of the study sees."""
MIN_COLOUR = 5.0
"""Grey pictures saved as coloured JPEG stay below 1; a coloured arrow over half a percent of the picture is above 15."""
ADVISED = ("exact-duplicates", "nearly-black", "nearly-white", "blank", "inverted")
"""Checks whose pictures can be left out unseen; what the others find deserves a look first."""

_FAULTS = (
    ("nearly-black", "Almost black", "almost black. Hardly anything can be seen on them."),
    ("nearly-white", "Almost white", "almost white. Hardly anything can be seen on them."),
    (
        "blank",
        "Blank",
        "blank in the middle, where the chest should be. There is nothing to learn from them.",
    ),
    ("inverted", "Inverted", "inverted: bone is dark on them and lung bright."),
    (
        "clipped",
        "Over- or underexposed",
        "burnt out or drowned in black in the middle. What was there is lost.",
    ),
    ("blurred", "Blurred", "blurred. Fine signs cannot be seen on them."),
    (
        "tiny",
        "Tiny",
        f"under {MIN_SHORT_EDGE} pixels on the short side, fewer than the smallest network of the study takes in.",
    ),
    (
        "stripe",
        "Odd shape",
        "more than twice as long as wide. Something was cut off or joined to them.",
    ),
    ("coloured", "Coloured", "coloured. Radiographs are grey; look for drawings and screenshots."),
    (
        "written-on",
        "Writing in the picture",
        "probably written on; short and small writing is missed. A network may read it instead of the chest.",
    ),
)
"""Check, title and sentence, in the order of `find_faults`."""

Pairs = npt.NDArray[np.int64]
"""(P, 2) positions of samples."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: groups of files that belong together, or groups of one where each picture stands for itself."""

    check: str
    title: str
    sentence: str
    groups: tuple[tuple[str, ...], ...]
    keeps_one: bool = False
    """Whether leaving out all but the first of each group mends it."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the finding."""
        return tuple(file for group in self.groups for file in group)


@dataclass(frozen=True, slots=True, eq=False)
class ClassPicture:
    """Mean and standard deviation of all pictures of a class: `n` of them, (S, S) grey values each."""

    class_name: str
    n: int
    mean: Numbers
    std: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A sample of a dataset as points of the plane; alike pictures lie close, distances between clusters mean little."""

    rows: npt.NDArray[np.int64]
    """(M,) positions in the dataset's samples, sorted."""
    points: Numbers
    """(M, 2)."""


def find_copies(dataset: Dataset, facts: Facts, twins: Pairs) -> tuple[Finding, ...]:
    """Return exact duplicates, near-duplicates (the exact ones among them) and those that stand in two classes.

    facts: of the dataset's samples, in their order.  twins: near-duplicates (`find_near_duplicates`).
    Pictures of one single grey value are no copies of each other; they are found as black, white or blank.
    """
    names = [sample.file for sample in dataset.samples]
    labels = np.array([sample.label for sample in dataset.samples], dtype=np.int64)
    same: dict[str, list[str]] = defaultdict(list)
    for row in np.flatnonzero(facts.contrast > 0).tolist():
        same[str(facts.pixel_hash[row])].append(names[row])
    exact = tuple(tuple(group) for group in same.values() if len(group) > 1)
    near = _components(twins, names)
    conflicts = _components(twins[labels[twins[:, 0]] != labels[twins[:, 1]]], names)
    return (
        Finding(
            "exact-duplicates",
            "Exact duplicates",
            f"{_groups(exact)} the same, pixel for pixel. All but one of each add nothing and count double.",
            exact,
            keeps_one=True,
        ),
        Finding(
            "near-duplicates",
            "Near-duplicates",
            f"{_groups(near)} nearly the same: one radiograph saved again, cropped or annotated, or two very similar ones. "
            "The grouped protocol keeps them in one split.",
            near,
            keeps_one=True,
        ),
        Finding(
            "label-conflicts",
            "Alike, but of two classes",
            f"{_groups(conflicts)} nearly the same but of different classes. Either a label is wrong or two patients look alike.",
            conflicts,
        ),
    )


def find_leaks(dataset: Dataset, split: Split, twins: Pairs) -> tuple[Finding, ...]:
    """Return the near-duplicates and the patients that stand in more than one of train, val and test.

    split: of the dataset's samples, in their order; under the grouped protocol neither finds any.
    """
    names = [sample.file for sample in dataset.samples]
    where = dict(zip(split.files, split.names.tolist(), strict=True))
    patients: dict[tuple[str | None, str], list[str]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.patient_id:
            patients[sample.source, sample.patient_id].append(sample.file)
    torn_twins = tuple(
        group for group in _components(twins, names) if len({where[file] for file in group}) > 1
    )
    torn_patients = tuple(
        tuple(group) for group in patients.values() if len({where[file] for file in group}) > 1
    )
    consequence = "The figures on test come out too good; choose the grouped protocol."
    return (
        Finding(
            "twins-across-splits",
            "Near-duplicates in two splits",
            f"{_groups(torn_twins)} nearly the same and in different splits."
            + f" {consequence}" * bool(torn_twins),
            torn_twins,
            keeps_one=True,
        ),
        Finding(
            "patients-across-splits",
            "Patients in two splits",
            f"{_groups(torn_patients)} of the same patient and in different splits."
            + f" {consequence}" * bool(torn_patients),
            torn_patients,
            keeps_one=True,
        ),
    )


def find_faults(facts: Facts) -> tuple[Finding, ...]:
    """Return the pictures that are black, white, blank, clipped, blurred, tiny, stripes, coloured, written on, or negatives.

    A picture that is black, white or blank is nothing else besides, whatever its other measures are.
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
        facts.colourfulness > MIN_COLOUR,
        shown & (facts.letters >= MIN_LETTERS),
    )
    return tuple(
        Finding(
            check,
            title,
            f"{_pictures(int(found.sum()))} {sentence}",
            tuple((str(file),) for file in facts.files[found]),
        )
        for (check, title, sentence), found in zip(_FAULTS, masks, strict=True)
    )


def average_pictures(dataset: Dataset, thumbnails: Pixels) -> tuple[ClassPicture, ...]:
    """Return the mean and the standard deviation of each class's thumbnails; classes without pictures are passed over."""
    pictures = []
    for k, name in enumerate(dataset.class_names):
        rows = thumbnails.rows([sample.file for sample in dataset.samples if sample.label == k])
        if len(rows):
            own = thumbnails.array[rows]
            pictures.append(ClassPicture(name, len(rows), own.mean(axis=0), own.std(axis=0)))
    return tuple(pictures)


def project(dataset: Dataset, thumbnails: Pixels, most: int = 1500, seed: int = 0) -> Projection:
    """Lay up to `most` pictures, drawn at random, out on a plane: 50 principal components of the thumbnails, then t-SNE.

    The same seed gives the same points on the same machine. Takes ten seconds, or half a minute beside a training.
    van der Maaten & Hinton 2008, "Visualizing data using t-SNE", JMLR 9:2579, with scikit-learn's settings (perplexity 30).
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
    """Return (file, reason) of the pictures to leave out to be rid of the findings, each file once."""
    reasons: dict[str, str] = {}
    for finding in findings:
        for group in finding.groups:
            first = f": {group[0]} is kept" if finding.keeps_one else ""
            for file in group[1:] if finding.keeps_one else group:
                reasons.setdefault(file, f"{finding.title}{first}")
    return tuple(reasons.items())


def findings_csv(findings: Iterable[Finding], dataset: Dataset, split: Split | None) -> str:
    """Return a row for each image of a finding: `finding,group,file,class,source,split`; texts are `defused`."""
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
                writer.writerow([finding.check, number, *map(defused, texts)])
    return text.getvalue()


def _components(pairs: Pairs, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the files that pairs connect, directly or through others."""
    groups: dict[int, list[str]] = defaultdict(list)
    numbers = components(pairs, len(names))
    for row in np.unique(pairs).tolist():
        groups[int(numbers[row])].append(names[row])
    return tuple(tuple(group) for group in groups.values())


def _pictures(n: int) -> str:
    return "No picture is" if n == 0 else "1 picture is" if n == 1 else f"{n:,} pictures are"


def _groups(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return "No pictures are"
    files = sum(map(len, groups))
    return f"{files:,} pictures in {len(groups):,} group{'s' * (len(groups) > 1)} are"
