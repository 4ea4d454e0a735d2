"""Worklist: many images analyzed by one model, in a table that opens each of them."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import streamlit as st

from covidxr.app.cache import Case, load_current, log_once, read_case
from covidxr.app.widgets import progress
from covidxr.cards import ModelCard
from covidxr.errors import CovidxrError, DatasetError, ImageError
from covidxr.formatting import count
from covidxr.prediction.worklist import ImageFile as ImageFile
from covidxr.prediction.worklist import (
    WorklistRow,
    list_images,
    predict_images,
    sort_worklist,
    worklist_csv,
)
from covidxr.records import CLASS_NAMES, display_name

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.uploaded_file_manager import UploadedFile

Order = Literal["Suspicion", "Uncertainty", "Upload order"]
Verdict = Literal["answered", "refused", "unreadable"]
Place = tuple[str, int]
"""Id of an upload, which identifies its content in the session, and number of an image in it."""

_THUMBNAIL, _ROW, _HEIGHT = 64, 48, 340
"""Pixels: long edge of a thumbnail, height of a row, and maximum height of the table."""
_SHOWN = 1000
"""Rows on the page; each sends its thumbnail to the browser."""
_TALLY: tuple[tuple[Verdict, str], ...] = (
    ("answered", "analyzed"),
    ("refused", "rejected"),
    ("unreadable", "unreadable"),
)
"""Values of `WorklistRow.verdict`, and the words for them on screen."""


def is_worklist(files: Sequence[UploadedFile]) -> bool:
    """Whether uploads hold many images: several files, or a zip."""
    return len(files) > 1 or any(file.getvalue().startswith(b"PK\3\4") for file in files)


def forget_worklist() -> None:
    """Drop the images and rows of a worklist that is no longer on the page."""
    st.session_state.pop("worklist", None)
    st.session_state.pop("image files", None)


def worklist(card: ModelCard, uploads: Sequence[UploadedFile], head: DeltaGenerator) -> Case:
    """Analyze and list all images of the uploads.

    Args:
        card: Of the model.
        uploads: Image files and zips.
        head: Container for everything but the table.

    Returns:
        The image that the user opened, at first the topmost.

    Raises:
        ImageError: When the opened image cannot be read.
        DatasetError: When the zip of the opened image cannot be read.
        ModelError: For a model that cannot be loaded.
    """
    files = _image_files(uploads)
    with head:
        rows = _analyzed(card, files)
    place_of = {id(row): place for place, row in rows.items()}
    tally = Counter(row.verdict for row in rows.values())
    counts = ", ".join(f"{tally[key]:,} {word}" for key, word in _TALLY if tally[key])
    head.markdown(f"**{count(len(rows))}**: {counts}")
    with head.container(horizontal=True, vertical_alignment="bottom"):
        order = _choose_order(card)
        st.download_button(
            "All rows (CSV)",
            lambda: worklist_csv(rows.values(), card.class_names, card.prediction_sets),
            f"worklist-{card.model_id}.csv",
            on_click="ignore",
            icon=":material/download:",
        )
    ordered = _sorted(list(rows.values()), order)
    prefix = f"{uploads[0].name}/" if len(uploads) == 1 else ""
    opened = ordered[_table(ordered[:_SHOWN], prefix, f"worklist {order} {hash(tuple(rows))}")]
    if len(ordered) > _SHOWN:
        st.caption(f"First {_SHOWN:,} of {count(len(ordered))}; all are in the CSV.")
    return read_case(opened.name.removeprefix(prefix), files[place_of[id(opened)]].read())


def _image_files(uploads: Sequence[UploadedFile]) -> dict[Place, ImageFile]:
    """List the image files of the uploads; each upload is opened once per session."""
    kept: dict[str, list[ImageFile]] = st.session_state.setdefault("image files", {})
    listed = {
        upload.file_id: kept[upload.file_id] if upload.file_id in kept else _list(upload)
        for upload in uploads
    }
    st.session_state["image files"] = listed
    return {(file_id, i): file for file_id, files in listed.items() for i, file in enumerate(files)}


def _list(upload: UploadedFile) -> list[ImageFile]:
    """List the image files of an upload; one that cannot be opened is an unreadable image."""
    try:
        # A zip in memory stays open for reading, and is freed with the list.
        return list_images([(upload.name, upload.getvalue())], ExitStack())
    except (ImageError, DatasetError) as error:
        return [ImageFile(upload.name, partial(_fail, error))]


def _fail(error: CovidxrError) -> NoReturn:
    raise error


def _analyzed(card: ModelCard, files: dict[Place, ImageFile]) -> dict[Place, WorklistRow]:
    """Return the row of each image; new images are analyzed with a progress bar.

    Rows are kept one by one, so that none is lost to a click meanwhile; and in the session, since
    Streamlit would replay the progress bar with each hit of a cache of its own.
    """
    kept: dict[tuple[str, str, str, Place], WorklistRow] = st.session_state.setdefault(
        "worklist", {}
    )
    model_key = card.model_id, card.weights_sha256, card.gate.sha256 if card.gate else ""
    for key in [key for key in kept if key[-1] not in files]:
        del kept[key]
    new = [place for place in files if (*model_key, place) not in kept]
    # With each rerun, so that nothing below moves.
    with st.container():
        if new:
            model = load_current(card)
            with progress("Analyzing images") as watch:
                scored = predict_images(
                    model, [files[place] for place in new], watch, thumbnail=_THUMBNAIL
                )
                for place, row in zip(new, scored, strict=True):
                    kept[(*model_key, place)] = row
                    log_once(card, row.input_sha256, row.verdict, row.predicted)
    return {place: kept[(*model_key, place)] for place in files}


def _choose_order(card: ModelCard) -> Order:
    orders: list[Order] = ["Suspicion", "Uncertainty", "Upload order"]
    known = orders if CLASS_NAMES[0] in card.class_names else orders[1:]
    return st.segmented_control(
        "Sort by",
        known,
        default=known[0],
        required=True,
        key=f"order {len(known)}",
        help="Suspicion: highest P(abnormal) first. Uncertainty: highest first. Rejected and "
        "unreadable images are last.",
    )


def _sorted(rows: list[WorklistRow], order: Order) -> list[WorklistRow]:
    if order == "Upload order":
        return rows
    return sort_worklist(rows, "disease" if order == "Suspicion" else "uncertainty")


def _table(rows: Sequence[WorklistRow], prefix: str, key: str) -> int:
    """Show the rows; return the index of the one that the user opened."""
    columns = _columns(rows, prefix)
    empty = {
        name
        for name in ("P(abnormal)", "Remarks")
        if not any(value not in (None, "") for value in columns[name])
    }
    event = st.dataframe(
        columns,
        hide_index=True,
        placeholder="",
        row_height=_ROW,
        height=min(_ROW * len(rows) + 38, _HEIGHT),
        column_config={
            "": st.column_config.ImageColumn(width=56),
            "Image": st.column_config.TextColumn(width=None if "Remarks" in empty else 160),
            "Prediction": st.column_config.TextColumn(width=120),
            "Probability": st.column_config.NumberColumn(
                format="%.1f%%", width=90, help="Of the predicted class."
            ),
            "P(abnormal)": st.column_config.NumberColumn(
                format="%.1f%%", width=90, help="Probability of any class but Normal."
            ),
            "Uncertainty": st.column_config.NumberColumn(
                format="%.2f",
                width=90,
                help="Normalized entropy of the probabilities. 0: certain of one class; "
                "1: all classes equally probable.",
            ),
            "Remarks": st.column_config.TextColumn(width=330),
        },
        column_order=[name for name in columns if name not in empty],
        on_select="rerun",
        # A row is selected only by its checkbox, a cell by a click anywhere.
        selection_mode="single-cell",
        selection_default={"selection": {"cells": [(0, "Image")]}},
        key=key,
        alt="Images with prediction, probabilities and uncertainty, or why there are none",
    )
    cells = event.selection.cells
    return cells[0][0] if cells and cells[0][0] < len(rows) else 0


def _columns(rows: Sequence[WorklistRow], prefix: str) -> dict[str, list[Any]]:
    """Return the columns of the table; rejected images have no probabilities."""
    titles = {"refused": "Rejected", "unreadable": "Unreadable"}
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "",
            "Image",
            "Prediction",
            "Probability",
            "P(abnormal)",
            "Uncertainty",
            "Remarks",
        )
    }
    for row in rows:
        # The name has a column of its own.
        error = row.error.removeprefix(f"cannot read {row.name}: ")
        values: list[Any] = [_data_url(row.thumbnail), row.name.removeprefix(prefix)]
        if row.verdict == "answered":
            values += [display_name(str(row.predicted)), 100 * max(row.probabilities.values())]
            values += [None if row.disease is None else 100 * row.disease, row.uncertainty]
        else:
            values += [titles[row.verdict], None, None, None]
        values.append(error or " ".join(row.rejections + row.warnings))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def _data_url(png: bytes) -> str | None:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else None
