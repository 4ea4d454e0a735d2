"""The worklist: many pictures judged by one model, in a table that opens them."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import streamlit as st

from covidxr.app.cache import Picture, gated, log_once
from covidxr.cards import ModelCard
from covidxr.errors import CovidxrError, DatasetError, ImageError
from covidxr.prediction.worklist import Picture as Unread
from covidxr.prediction.worklist import (
    WorklistRow,
    list_pictures,
    score_pictures,
    sort_worklist,
    worklist_csv,
)
from covidxr.records import CLASS_NAMES, display_name

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.uploaded_file_manager import UploadedFile

Order = Literal["Urgency", "Uncertainty", "As dropped"]
Place = tuple[str, int]
"""An upload's id, which stands for its content as long as the session lasts, and a picture's number in it."""

_THUMBNAIL, _ROW, _HEIGHT = 64, 48, 340
"""Pixels: the long edge of a thumbnail, the height of a row, that of the table at most."""
_SHOWN = 1000
"""Rows on the page; each carries its thumbnail to the browser."""
_ROUNDS = 0.2
"""Seconds between two movements of the progress bar."""
_WITHOUT = {"refused": "Refused", "unreadable": "Cannot be read"}


def is_worklist(files: Sequence[UploadedFile]) -> bool:
    """Whether files that were dropped are many pictures: several files, or a zip."""
    return len(files) > 1 or any(file.getvalue().startswith(b"PK\3\4") for file in files)


def forget_worklist() -> None:
    """Let go of pictures that are no longer on the page."""
    st.session_state.pop("worklist", None)
    st.session_state.pop("unread", None)


def worklist(card: ModelCard, files: Sequence[UploadedFile], head: DeltaGenerator) -> Picture:
    """Judge all pictures of the files, list them, and return the one that the reader opened, at first the topmost.

    head: where what is not the table is drawn.
    Raises ImageError or DatasetError with the reason for a row whose file cannot be read, ModelError.
    """
    unread = _unread(files)
    with head:
        rows = _judged(card, unread)
    place_of = {id(row): place for place, row in rows.items()}
    tally = Counter(row.verdict for row in rows.values())
    counts = ", ".join(
        f"{tally[what]:,} {what}" for what in ("answered", "refused", "unreadable") if tally[what]
    )
    head.markdown(f"**{len(rows):,} picture{'s' * (len(rows) > 1)}**: {counts}")
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
    prefix = f"{files[0].name}/" if len(files) == 1 else ""
    chosen = ordered[_table(ordered[:_SHOWN], prefix, f"worklist {order} {hash(tuple(rows))}")]
    if len(ordered) > _SHOWN:
        st.caption(f"The first {_SHOWN:,} of {len(ordered):,}; the download holds them all.")
    return Picture.of(chosen.name.removeprefix(prefix), unread[place_of[id(chosen)]].read())


def _unread(files: Sequence[UploadedFile]) -> dict[Place, Unread]:
    """List the pictures of the files, once for each file; one that cannot be opened is a picture that cannot be read."""
    kept: dict[str, list[Unread]] = st.session_state.setdefault("unread", {})
    listed = {
        file.file_id: kept[file.file_id] if file.file_id in kept else _list(file) for file in files
    }
    st.session_state["unread"] = listed
    return {
        (file_id, i): picture
        for file_id, pictures in listed.items()
        for i, picture in enumerate(pictures)
    }


def _list(file: UploadedFile) -> list[Unread]:
    try:
        # A zip in memory stays open, to read the pictures that the reader opens, and goes with the list.
        return list_pictures([(file.name, file.getvalue())], ExitStack())
    except (ImageError, DatasetError) as error:
        return [Unread(file.name, partial(_fail, error))]


def _fail(error: CovidxrError) -> NoReturn:
    raise error


def _judged(card: ModelCard, unread: dict[Place, Unread]) -> dict[Place, WorklistRow]:
    """Return the row of each picture; those that are new are judged, with a progress bar.

    Rows are kept one by one, so that a reader who clicks meanwhile loses none; and with the session, since Streamlit would draw the
    progress anew with each hit of a cache of its own.
    """
    kept: dict[tuple[str, str, str, Place], WorklistRow] = st.session_state.setdefault(
        "worklist", {}
    )
    own = card.model_id, card.weights_sha256, card.gate.sha256 if card.gate else ""
    bar = st.empty()  # with each rerun, lest what stands below move
    for key in [key for key in kept if key[-1] not in unread]:
        del kept[key]
    new = [place for place in unread if (*own, place) not in kept]
    if new:
        model, started = gated(card), time.monotonic()
        bar.progress(0.0, f"Judging {len(new):,} pictures…")
        drawn = started
        scored = score_pictures(model, [unread[place] for place in new], thumbnail=_THUMBNAIL)
        for done, (place, row) in enumerate(zip(new, scored, strict=True), start=1):
            kept[(*own, place)] = row
            log_once(card, row.input_sha256, row.verdict, row.predicted)
            if (now := time.monotonic()) - drawn > _ROUNDS:
                drawn, left = now, (now - started) / done * (len(new) - done)
                how_long = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
                bar.progress(
                    done / len(new),
                    f"{done:,} of {len(new):,} pictures judged, about {how_long} left",
                )
        bar.empty()
    return {place: kept[(*own, place)] for place in unread}


def _choose_order(card: ModelCard) -> Order:
    orders: list[Order] = ["Urgency", "Uncertainty", "As dropped"]
    known = orders if CLASS_NAMES[0] in card.class_names else orders[1:]
    return st.segmented_control(
        "Sort by",
        known,
        default=known[0],
        required=True,
        key=f"order {len(known)}",
        help="Urgency: the most probably diseased first. Uncertainty: first where the model is least sure. Pictures without an "
        "answer come last.",
    )


def _sorted(rows: list[WorklistRow], order: Order) -> list[WorklistRow]:
    if order == "As dropped":
        return rows
    return sort_worklist(rows, "disease" if order == "Urgency" else "uncertainty")


def _table(rows: Sequence[WorklistRow], prefix: str, key: str) -> int:
    """Show the rows and return the place of the one that the reader opened."""
    answered = [row.verdict == "answered" for row in rows]
    # The name stands in a column of its own.
    notes = [
        row.error.removeprefix(f"cannot read {row.name}: ") or " ".join(row.refusals + row.warnings)
        for row in rows
    ]
    columns: dict[str, list[Any]] = {
        "": [_data_url(row.thumbnail) for row in rows],
        "Picture": [row.name.removeprefix(prefix) for row in rows],
        "Verdict": [_WITHOUT.get(row.verdict) or display_name(str(row.predicted)) for row in rows],
        "Probability": [
            max(row.probabilities.values()) * 100 if ok else None
            for row, ok in zip(rows, answered, strict=True)
        ],
        "Any disease": [
            row.disease * 100 if ok and row.disease is not None else None
            for row, ok in zip(rows, answered, strict=True)
        ],
        "Uncertainty": [
            row.uncertainty if ok else None for row, ok in zip(rows, answered, strict=True)
        ],
        "Note": notes,
    }
    left_out = {
        name
        for name in ("Any disease", "Note")
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
            "Picture": st.column_config.TextColumn(width=160 if "Note" not in left_out else None),
            "Verdict": st.column_config.TextColumn(width=120),
            "Probability": st.column_config.NumberColumn(
                format="%.1f %%", width=90, help="Of the class that the verdict names."
            ),
            "Any disease": st.column_config.NumberColumn(
                format="%.1f %%",
                width=90,
                help="Probability of any class but Normal; what Urgency sorts by.",
            ),
            "Uncertainty": st.column_config.NumberColumn(
                format="%.2f",
                width=90,
                help="0: one class for certain. 1: all classes are equally probable.",
            ),
            "Note": st.column_config.TextColumn(width=330),
        },
        column_order=[name for name in columns if name not in left_out],
        on_select="rerun",
        selection_mode="single-cell",  # a row is chosen only by the circle before it, a cell by a click anywhere
        selection_default={"selection": {"cells": [(0, "Picture")]}},
        key=key,
        alt="The pictures with their verdicts, probabilities and uncertainty, or the reason why there are none",
    )
    cells = event.selection.cells
    return cells[0][0] if cells and cells[0][0] < len(rows) else 0


def _data_url(png: bytes) -> str | None:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else None
