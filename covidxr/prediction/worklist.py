"""Many pictures at once: files, folders, zips and uploads, read ahead by threads and scored in batches, one row each."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image

from covidxr.cards import PredictionSets
from covidxr.errors import DatasetError, ImageError
from covidxr.images.containers import ZipFiles, open_files
from covidxr.images.reading import SUFFIXES, read_radiograph
from covidxr.models.classifier import Classifier
from covidxr.records import CLASS_NAMES, GreyImage
from covidxr.reports.sentences import prediction_set
from covidxr.storage import defused, printable

Source = Path | tuple[str, bytes]
"""A file, a folder or a zip on disk; or the name and the content of an upload."""

Seen = tuple[GreyImage, Any]
"""A picture as the model sees it, (S, S) uint8, and as its gate does."""

_BATCH = 64
"""Pictures that are read, and that the network sees, in one go: what bounds the memory."""
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file not read yet; `read` raises DatasetError when it cannot."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """What became of one file: calibrated probabilities by class name, or the reason why there are none."""

    name: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    """Why the model may not judge this picture, though it can; its probabilities deserve no belief."""
    error: str = ""
    """Why the file cannot be read."""
    thumbnail: bytes = b""
    """The picture in small as PNG, where one was asked for and the file can be read."""
    input_sha256: str = ""
    """Of the file's content; empty where not even that can be had."""

    @property
    def verdict(self) -> Literal["answered", "refused", "unreadable"]:
        """In one word."""
        return "unreadable" if self.error else "refused" if self.refusals else "answered"

    @property
    def predicted(self) -> str | None:
        """The class of the highest probability."""
        return (
            max(self.probabilities, key=lambda name: self.probabilities[name])
            if self.probabilities
            else None
        )

    @property
    def disease(self) -> float | None:
        """Probability of any class but Normal, 0..1; None where the model knows no Normal."""
        return (
            1 - self.probabilities[CLASS_NAMES[0]] if CLASS_NAMES[0] in self.probabilities else None
        )

    @property
    def uncertainty(self) -> float | None:
        """Entropy of the probabilities (Shannon 1948, section 6) over that of equal ones: 0 is certain, 1 knows nothing."""
        if not self.probabilities:
            return None
        return -sum(p * math.log(p) for p in self.probabilities.values() if p > 0) / math.log(
            len(self.probabilities)
        )


def score_worklist(
    model: Classifier,
    sources: Iterable[Source],
    watch: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[WorklistRow]:
    """Yield a row for each picture of the sources, in their order; memory does not grow with their number.

    watch: told after each row how many of how many are done.  cancelled: asked after each row; true ends the work.
    Raises ImageError for a source that does not exist or holds no pictures, DatasetError for a zip that is refused, ModelError.
    """
    with ExitStack() as stack:
        yield from score_pictures(model, list_pictures(sources, stack), watch, cancelled)


def list_pictures(sources: Iterable[Source], stack: ExitStack) -> list[Picture]:
    """Return the pictures of the sources; what must stay open while they are read is put on the stack.

    In folders and zips these are the files whose suffix or first bytes are a picture's; the files of a hospital's disc have no
    suffix. A zip inside one is listed too, to be refused. Raises ImageError, DatasetError as `score_worklist`.
    """
    pictures: list[Picture] = []
    for source in sources:
        if isinstance(source, tuple):
            name, content = source
            if not content.startswith(_ZIP):
                pictures.append(Picture(name, partial(bytes, content)))
                continue
            files = ZipFiles(io.BytesIO(content), name=name)
        else:
            name = printable(str(source))
            if not source.exists():
                raise ImageError(f"there is no file or folder {source}")
            if (
                source.is_file()
                and not _head(source).startswith(_ZIP)
                and source.suffix.lower() != ".zip"
            ):
                pictures.append(Picture(name, partial(_read_file, source)))
                continue
            files = open_files(source)  # type: ignore[assignment]
        stack.enter_context(files)
        found = sorted(
            file for file in files.list() if is_picture(file, partial(files.head, file, 132))
        )
        if not found:
            raise ImageError(f"{name} holds no PNG, JPEG, TIFF or DICOM files")
        pictures += [
            Picture(f"{name}/{printable(file)}", partial(files.read, file)) for file in found
        ]
    return pictures


def score_pictures(
    model: Classifier,
    pictures: Sequence[Picture],
    watch: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    thumbnail: int = 0,
    threads: int | None = None,
) -> Iterator[WorklistRow]:
    """Yield a row for each picture, in order; see `score_worklist`.

    thumbnail: long edge in pixels of the rows' thumbnails; 0 for none.  threads: how many read; without it, one a core.
    """
    done = 0
    for some in _batches(model, pictures, thumbnail, threads):
        for row in _score(model, some):
            done += 1
            yield row
            watch(done, len(pictures))
            if cancelled():
                return


def sort_worklist(
    rows: Iterable[WorklistRow], by: Literal["disease", "uncertainty"]
) -> list[WorklistRow]:
    """Return answered rows first, the highest probability of disease or uncertainty at their head, then those without an answer."""

    def key(row: WorklistRow) -> tuple[bool, float]:
        number = row.disease if by == "disease" else row.uncertainty
        return (
            row.verdict != "answered",
            -number if number is not None and row.verdict == "answered" else 0.0,
        )

    return sorted(rows, key=key)


def worklist_csv(
    rows: Iterable[WorklistRow], class_names: Sequence[str], sets: PredictionSets | None = None
) -> str:
    """Return one line a row: `file,verdict,predicted,<classes>,disease,uncertainty,prediction_set,reason`.

    Without an answer there are no numbers.
    sets: of the model's card; then `prediction_set` holds the classes of a picture's, with `;` between them, or `none`.
    Texts are made harmless for spreadsheets, see `defused`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = map(defused, class_names)
    writer.writerow(
        [
            "file",
            "verdict",
            "predicted",
            *names,
            "disease",
            "uncertainty",
            "prediction_set",
            "reason",
        ]
    )
    for row in rows:
        reason = row.error or " ".join(row.refusals + row.warnings)
        answered = row.verdict == "answered"
        numbers = (
            [*(row.probabilities.get(name) for name in class_names), row.disease, row.uncertainty]
            if answered
            else []
        )
        cells = ["" if number is None else f"{number:.6f}" for number in numbers] or [""] * (
            len(class_names) + 2
        )
        predicted = row.predicted if answered and row.predicted else ""
        chosen = (
            ";".join(prediction_set(sets, row.probabilities)) or "none" if sets and answered else ""
        )
        writer.writerow(
            [
                defused(row.name),
                row.verdict,
                defused(predicted),
                *cells,
                defused(chosen),
                defused(reason),
            ]
        )
    return text.getvalue()


def _batches(
    model: Classifier, pictures: Sequence[Picture], thumbnail: int, threads: int | None
) -> Iterator[list[tuple[WorklistRow, Seen | None]]]:
    """Yield what threads have read, in order, a batch at a time.

    Reading and the network take turns: both want all cores, and a network whose threads wait for one another loses more than is
    won.
    """
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for start in range(0, len(pictures), _BATCH):
            yield list(
                pool.map(
                    partial(_read, model, thumbnail=thumbnail), pictures[start : start + _BATCH]
                )
            )


def _read(model: Classifier, picture: Picture, thumbnail: int) -> tuple[WorklistRow, Seen | None]:
    """Read one picture: a row without probabilities, and what model and gate see of it, if it can be read."""
    small, digest = b"", ""
    try:
        content = picture.read()
        digest = hashlib.sha256(content).hexdigest()
        radiograph = read_radiograph(content, picture.name)
        small = _thumbnail(radiograph.image, thumbnail) if thumbnail else b""
        seen = model.view(radiograph.image).pixels, model.summarize(radiograph.image)
    except (
        ImageError,
        DatasetError,
    ) as error:  # the picture's fault, or that of its place in the zip
        return WorklistRow(
            picture.name, error=printable(str(error)), thumbnail=small, input_sha256=digest
        ), None
    row = WorklistRow(picture.name, thumbnail=small, input_sha256=digest)
    return replace(row, warnings=radiograph.warnings, refusals=radiograph.refusals), seen


def _thumbnail(image: GreyImage, edge: int) -> bytes:
    picture, content = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((edge, edge))
    picture.save(content, "PNG")
    return content.getvalue()


def _score(
    model: Classifier, batch: Sequence[tuple[WorklistRow, Seen | None]]
) -> Iterator[WorklistRow]:
    seen = [own for _, own in batch if own is not None]
    if seen:
        scores, refusals = model.predict_batch(
            np.stack([pixels for pixels, _ in seen]), [look for _, look in seen]
        )
        judged = zip(scores.tolist(), refusals, strict=True)
    for row, own in batch:
        if own is None:
            yield row
        else:
            probabilities, against = next(judged)
            named = dict(zip(model.card.class_names, probabilities, strict=True))
            yield replace(row, probabilities=named, refusals=row.refusals + against)


def is_picture(file: str, head: Callable[[], bytes]) -> bool:
    """Whether to open a file of a folder or a zip: by its suffix, so that a damaged one is told, else by its first bytes."""
    name = PurePosixPath(file).name.lower()
    if name.endswith((*SUFFIXES, ".zip")):
        return True
    if name == "dicomdir":  # the table of contents of a disc
        return False
    first = head()
    return first.startswith(_MAGIC) or first[128:] == b"DICM"


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(4)


def _read_file(file: Path) -> bytes:
    with open_files(file.parent) as files:
        return files.read(file.name)
