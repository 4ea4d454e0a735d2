"""All runs on the Train page: choice, list and comparison."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from covidxr.app.train.run import METRICS, STATUS_TITLES, draw_curves
from covidxr.config import runs_folder
from covidxr.figures import MODEL_COLORS
from covidxr.runs import launcher, snapshot
from covidxr.runs.snapshot import Snapshot


def snapshots() -> tuple[Snapshot, ...]:
    """Return the current state of all runs, the newest first."""
    return tuple(snapshot.take(run) for run in launcher.list_runs(runs_folder()))


def choose_run(runs: Sequence[Snapshot]) -> Snapshot:
    """Let the user choose a run, at first an active one."""
    by_id = {run.run_id: run for run in runs}
    if st.session_state.get("run") not in by_id:
        st.session_state["run"] = next(
            (run.run_id for run in reversed(runs) if run.alive), runs[0].run_id
        )
    st.selectbox(
        "Run",
        list(by_id),
        format_func=lambda run_id: by_id[run_id].name,
        key="run",
        persist_state="session",
    )
    return by_id[st.session_state["run"]]


def runs_section(runs: Sequence[Snapshot]) -> None:
    """List the runs, filtered, and compare the selected ones."""
    st.subheader("All runs", anchor=False)
    shown = _filtered(runs)
    if not shown:
        st.caption("No matching runs.")
        return
    selected = _select(shown)
    if len(selected) < 2:
        st.caption("Select two or more runs to compare their curves and settings.")
    elif len(selected) > len(MODEL_COLORS):
        st.caption(f"Select at most {len(MODEL_COLORS)} runs.")
    else:
        _compare(selected)
    st.caption(
        "TensorBoard: `python -m covidxr runs --tensorboard events`, then "
        "`tensorboard --logdir events`."
    )


def _filtered(runs: Sequence[Snapshot]) -> list[Snapshot]:
    left, right = st.columns([1, 2])
    text = left.text_input(
        "Search", placeholder="Name, recipe, dataset or note", key="find"
    ).casefold()
    present = [status for status in STATUS_TITLES if any(run.status == status for run in runs)]
    wanted = right.pills(
        "Status",
        present,
        selection_mode="multi",
        format_func=STATUS_TITLES.__getitem__,
        key="states",
    )
    return [run for run in runs if text in _searched(run) and (not wanted or run.status in wanted)]


def _searched(run: Snapshot) -> str:
    config = f"{run.config.recipe.name} {run.config.data}" if run.config else ""
    return f"{run.name} {run.run_id} {run.label.note} {config} {run.model_id or ''}".casefold()


def _select(runs: Sequence[Snapshot]) -> list[Snapshot]:
    """Show runs as a table; return those that the user selected."""
    event = st.dataframe(
        {
            "Run": [run.name for run in runs],
            "Status": [STATUS_TITLES[run.status] for run in runs],
            "Recipe": [run.config.recipe.name if run.config else "" for run in runs],
            "Dataset": [run.config.data.rpartition("/")[2] if run.config else "" for run in runs],
            "Epochs": [len(run.epochs) for run in runs],
            "Macro-F1": [100 * run.best.val_macro_f1 if run.best else None for run in runs],
            "Accuracy": [100 * run.best.val_accuracy if run.best else None for run in runs],
            "Started": [
                datetime.fromisoformat(run.started) if run.started else None for run in runs
            ],
            "Model": [run.model_id or "" for run in runs],
        },
        hide_index=True,
        placeholder="",
        column_config={
            "Macro-F1": st.column_config.NumberColumn(
                format="%.1f%%", help="Best epoch, validation set"
            ),
            "Accuracy": st.column_config.NumberColumn(
                format="%.1f%%", help="Same epoch, validation set"
            ),
            "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
        },
        on_select="rerun",
        selection_mode="multi-row",
        key="runs",
        alt="Runs with their status, recipe, dataset and best metrics",
    )
    return [runs[row] for row in event.selection.rows if row < len(runs)]


def _compare(runs: Sequence[Snapshot]) -> None:
    """Draw the curves of some runs in one chart, and list the settings in which they differ."""
    left, right = st.columns([3, 2], gap="large")
    names = [run.name for run in runs]
    names = [run.name if names.count(run.name) == 1 else run.run_id for run in runs]
    with left:
        title = st.segmented_control(
            "Validation metric",
            list(METRICS),
            default="Macro-F1",
            required=True,
            key="measure",
        )
        draw_curves(
            {name: run.epochs for name, run in zip(names, runs, strict=True)},
            METRICS[title],
            (),
            "runs",
        )
    with right:
        st.markdown("**Differences in settings**")
        configs = [run.config for run in runs if run.config]
        if len(configs) < len(runs):
            st.caption("Unknown: the configuration of one of the runs cannot be read.")
        elif differing := snapshot.differences(configs):
            columns = dict(
                zip(names, map(list, zip(*differing.values(), strict=True)), strict=True)
            )
            st.dataframe(
                {"Setting": list(differing), **columns},
                hide_index=True,
                alt="Settings in which the selected runs differ",
            )
        else:
            st.caption("Identical settings.")
