"""Worklists: the images of files, folders, zips and uploads, predicted in batches."""

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
from covidxr.images.reading import SUFFIXES, is_dicom, read_radiograph
from covidxr.models.classifier import Classifier
from covidxr.records import CLASS_NAMES, GrayImage
from covidxr.reports.sentences import prediction_set
from covidxr.storage import csv_safe, printable

Source = Path | tuple[str, bytes]
"""A file, folder or zip on disk, or the name and content of an upload."""

_Input = tuple[GrayImage, Any]
"""An image for the network, (S, S) uint8, and its summary for the OOD detector."""

_BATCH = 64
"""Images that are read, then predicted, at a time. It bounds the memory."""
_IMAGE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
_ZIP_START = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file before reading; `read` raises DatasetError on failure."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """The result of one file: calibrated probabilities by class name, or why there are none."""

    name: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()
    """Why the input check rejected the image; its probabilities are unreliable."""
    error: str = ""
    """Why the file cannot be read."""
    thumbnail: bytes = b""
    """A small PNG of the image, where one was requested and the file can be read."""
    input_sha256: str = ""
    """Hash of the file's content; empty if that cannot be read."""

    @property
    def verdict(self) -> Literal["answered", "refused", "unreadable"]:
        """Whether the image was analyzed, rejected by the input check, or unreadable."""
        return "unreadable" if self.error else "refused" if self.rejections else "answered"

    @property
    def predicted(self) -> str | None:
        """The class with the highest probability; None without probabilities."""
        if not self.probabilities:
            return None
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def disease(self) -> float | None:
        """Probability of all classes but Normal, in [0, 1]; None if the model has no Normal."""
        normal = self.probabilities.get(CLASS_NAMES[0])
        return None if normal is None else 1 - normal

    @property
    def uncertainty(self) -> float | None:
        """Entropy of the probabilities, relative to the maximum (Shannon 1948, section 6).

        0 is certain; 1 is that all classes are equally probable.
        """
        if not self.probabilities:
            return None
        entropy = -sum(p * math.log(p) for p in self.probabilities.values() if p > 0)
        return entropy / math.log(len(self.probabilities))


def list_images(sources: Iterable[Source], stack: ExitStack) -> list[ImageFile]:
    """List the images of the sources.

    In folders and zips these are files with the suffix, or with the first bytes, of an image:
    files on a hospital's disc have no suffix. A nested zip is listed too, and then rejected.

    Args:
        sources: Files, folders, zips and uploads.
        stack: Keeps zips open while their images are read.

    Raises:
        ImageError: For a source that does not exist or has no images.
        DatasetError: For a zip that is rejected.
    """
    images: list[ImageFile] = []
    for source in sources:
        if isinstance(source, tuple):
            name, content = source
            if not content.startswith(_ZIP_START):
                images.append(ImageFile(name, partial(bytes, content)))
                continue
            files = ZipFiles(io.BytesIO(content), name=name)
        else:
            name = printable(str(source))
            if not source.exists():
                raise ImageError(f"there is no file or folder {source}")
            if source.is_file() and not _is_zip(source):
                images.append(ImageFile(name, partial(_read_file, source)))
                continue
            files = open_files(source)  # type: ignore[assignment]
        stack.enter_context(files)
        found = sorted(
            file for file in files.list() if is_image_file(file, partial(files.head, file, 132))
        )
        if not found:
            raise ImageError(f"{name} holds no PNG, JPEG, TIFF or DICOM files")
        images += [
            ImageFile(f"{name}/{printable(file)}", partial(files.read, file)) for file in found
        ]
    return images


def is_image_file(file: str, head: Callable[[], bytes]) -> bool:
    """Whether a file of a folder or zip is listed: by its suffix, else by its first 132 bytes.

    The suffix comes first, so that a damaged image becomes a row with an error.
    """
    name = PurePosixPath(file).name.lower()
    if name.endswith((*SUFFIXES, ".zip")):
        return True
    # The table of contents of a disc is DICOM, and not an image.
    if name == "dicomdir":
        return False
    first = head()
    return first.startswith(_IMAGE_STARTS) or is_dicom(first)


def predict_images(
    model: Classifier,
    images: Sequence[ImageFile],
    watch: Callable[[int, int], None] = lambda done, total: None,
    thumbnail: int = 0,
    threads: int | None = None,
) -> Iterator[WorklistRow]:
    """Predict listed images, in order and in constant memory.

    Args:
        model: The classifier.
        images: As listed.
        watch: Receives the completed and the total number of images after each.
        thumbnail: Longer edge of the rows' thumbnails in pixels; 0 for none.
        threads: Number of threads that read; None for one per core.

    Yields:
        One row per image.
    """
    done = 0
    for batch in _read_batches(model, images, thumbnail, threads):
        for row in _predict(model, batch):
            done += 1
            yield row
            watch(done, len(images))


def _read_batches(
    model: Classifier, images: Sequence[ImageFile], thumbnail: int, threads: int | None
) -> Iterator[list[tuple[WorklistRow, _Input | None]]]:
    """Read images by threads, a batch at a time.

    Reading and the network take turns: each uses all cores, and together they are slower.
    """
    read = partial(_read, model, thumbnail=thumbnail)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for start in range(0, len(images), _BATCH):
            yield list(pool.map(read, images[start : start + _BATCH]))


def _read(model: Classifier, image: ImageFile, thumbnail: int) -> tuple[WorklistRow, _Input | None]:
    """Read one image: a row without probabilities, and the model's input if it can be read."""
    small, digest = b"", ""
    try:
        content = image.read()
        digest = hashlib.sha256(content).hexdigest()
        radiograph = read_radiograph(content, image.name)
        small = _thumbnail(radiograph.image, thumbnail) if thumbnail else b""
        found = model.view(radiograph.image).pixels, model.summarize(radiograph.image)
    except (ImageError, DatasetError) as error:
        reason = printable(str(error))
        row = WorklistRow(image.name, error=reason, thumbnail=small, input_sha256=digest)
        return row, None
    row = WorklistRow(
        image.name,
        warnings=radiograph.warnings,
        rejections=radiograph.rejections,
        thumbnail=small,
        input_sha256=digest,
    )
    return row, found


def _thumbnail(values: GrayImage, edge: int) -> bytes:
    image, content = Image.fromarray(values), io.BytesIO()
    image.thumbnail((edge, edge))
    image.save(content, "PNG")
    return content.getvalue()


def _predict(
    model: Classifier, batch: Sequence[tuple[WorklistRow, _Input | None]]
) -> Iterator[WorklistRow]:
    """Fill in the probabilities and rejections of the rows that have an input."""
    inputs = [found for _, found in batch if found is not None]
    if inputs:
        scores, rejections = model.predict_batch(
            np.stack([pixels for pixels, _ in inputs]), [summary for _, summary in inputs]
        )
        predictions = zip(scores.tolist(), rejections, strict=True)
    for row, found in batch:
        if found is None:
            yield row
        else:
            probabilities, rejection = next(predictions)
            named = dict(zip(model.card.class_names, probabilities, strict=True))
            yield replace(row, probabilities=named, rejections=row.rejections + rejection)


def _is_zip(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == _ZIP_START or file.suffix.lower() == ".zip"


def _read_file(file: Path) -> bytes:
    with open_files(file.parent) as files:
        return files.read(file.name)


def sort_worklist(
    rows: Iterable[WorklistRow], by: Literal["disease", "uncertainty"]
) -> list[WorklistRow]:
    """Sort rows by falling probability of disease, or uncertainty; rows without a result last."""

    def key(row: WorklistRow) -> tuple[bool, float]:
        value = row.disease if by == "disease" else row.uncertainty
        if row.verdict != "answered":
            return True, 0.0
        return False, 0.0 if value is None else -value

    return sorted(rows, key=key)


def worklist_csv(
    rows: Iterable[WorklistRow], class_names: Sequence[str], sets: PredictionSets | None = None
) -> str:
    """Write rows as CSV, harmless for spreadsheets (`csv_safe`).

    The columns are `file,verdict,predicted,<classes>,disease,uncertainty,prediction_set,reason`.
    Only analyzed images have values.

    Args:
        rows: The rows.
        class_names: Of the model.
        sets: Of the model's card; then `prediction_set` lists the classes, separated by `;`, or
            is `none`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = ["file", "verdict", "predicted", *map(csv_safe, class_names)]
    writer.writerow([*columns, "disease", "uncertainty", "prediction_set", "reason"])
    for row in rows:
        predicted, chosen, values = "", "", [""] * (len(class_names) + 2)
        if row.verdict == "answered":
            numbers = [row.probabilities.get(name) for name in class_names]
            numbers += [row.disease, row.uncertainty]
            values = ["" if number is None else f"{number:.6f}" for number in numbers]
            predicted = row.predicted or ""
            chosen = ";".join(prediction_set(sets, row.probabilities)) or "none" if sets else ""
        reason = row.error or " ".join(row.rejections + row.warnings)
        start = [csv_safe(row.name), row.verdict, csv_safe(predicted)]
        writer.writerow([*start, *values, csv_safe(chosen), csv_safe(reason)])
    return text.getvalue()
