"""Runs on screen: one of them live, all of them in a table, and what sets two apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from covidxr.app.frame import literal, show_error
from covidxr.app.widgets import chart, ink
from covidxr.cards import EpochFigures
from covidxr.config import runs_folder, weights_folder
from covidxr.errors import CovidxrError
from covidxr.figures import MODEL_COLOURS, Measure, learning_figure
from covidxr.formatting import duration
from covidxr.models.store import new_model_folder
from covidxr.runs import launcher, snapshot
from covidxr.runs.journal import Label, RunFolder
from covidxr.runs.snapshot import Snapshot

_POLL_SECONDS = 2
_LOG_LINES = 30
_STATES = {
    "new": "Not started",
    "starting": "Starting",
    "queued": "Waiting",
    "running": "Running",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "interrupted": "Interrupted",
}
_BADGES = {
    "finished": "green",
    "failed": "red",
    "interrupted": "orange",
    "cancelled": "gray",
    "queued": "gray",
    "new": "gray",
}
_MEASURES: dict[str, Measure] = {"Macro-F1": "macro_f1", "Accuracy": "accuracy", "Loss": "loss"}


def snapshots() -> tuple[Snapshot, ...]:
    """Return all runs as they stand, the newest first."""
    return tuple(snapshot.take(run) for run in launcher.list_runs(runs_folder()))


def choose_run(runs: Sequence[Snapshot]) -> Snapshot:
    """Let the reader choose a run; a living one comes first."""
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


def one_run(run: Snapshot) -> None:
    """Show a run: how it stands and what can be done, its progress and curves, which follow it while it goes on, and its log."""
    state = _STATES[run.status]
    st.subheader(
        f"{literal(run.name)} :{_BADGES.get(run.status, 'blue')}-badge[{state}]", anchor=False
    )
    if run.label.note:
        st.markdown(literal(run.label.note))
    if run.reason:
        st.warning(literal(f"{run.reason[:1].upper()}{run.reason[1:]}."), icon=":material/warning:")
    _actions(run)
    st.fragment(_live, run_every=_POLL_SECONDS if run.alive else None)(run.run_id, run.status)


def _live(run_id: str, status: str) -> None:
    """Show what changes while a run goes on; when its state changes, the whole page is drawn anew."""
    try:
        run = snapshot.take(launcher.find_run(runs_folder(), run_id))
    except CovidxrError:  # deleted in another tab
        st.rerun()
    if run.status != status:
        st.rerun()
    if run.progress:
        facts = [run.progress.doing]
        if run.progress.images_per_second:
            facts.append(f"{run.progress.images_per_second:,.0f} pictures a second")
        if run.progress.seconds_left:
            facts.append(f"about {duration(run.progress.seconds_left)} left")
        st.progress(run.progress.share, literal(" · ".join(facts)))
    _figures(run)
    if run.epochs or run.steps:
        for place, (title, measure) in zip(
            st.columns(3, gap="medium"), reversed(_MEASURES.items()), strict=True
        ):
            with place:
                st.markdown(f"**{title}**")
                _curve(
                    {run.name: run.epochs},
                    measure,
                    run.steps if measure == "loss" else (),
                    f"{run.run_id}-{measure}",
                )
    with st.expander("Log", icon=":material/terminal:", expanded=run.status == "failed"):
        st.code(
            RunFolder(run.path).log_tail(_LOG_LINES) or "Nothing yet.",
            language=None,
            wrap_lines=True,
        )
        st.caption(literal(str(run.path)))


def _figures(run: Snapshot) -> None:
    """Show the best epoch so far, and the pace."""
    best = run.best
    total = run.config.recipe.epochs if run.config else "?"
    figures = {
        "Best macro-F1, validation": f"{100 * best.val_macro_f1:.1f} %" if best else "-",
        "Accuracy in that epoch": f"{100 * best.val_accuracy:.1f} %" if best else "-",
        "Best epoch": f"{best.epoch} of {total}" if best else "-",
        "Time spent": duration(run.seconds) if run.seconds else "-",
        "Pictures a second": f"{run.images_per_second:,.0f}" if run.images_per_second else "-",
    }
    with st.container(horizontal=True, gap="large"):
        for title, value in figures.items():
            st.metric(title, value, width="content")


def _curve(
    curves: dict[str, Sequence[EpochFigures]],
    measure: Measure,
    steps: Sequence[tuple[float, float]],
    name: str,
) -> None:
    if not steps and not any(curves.values()):
        st.caption("Known after the first epoch.")
        return
    figure = learning_figure(curves, measure, ink(), steps)
    st.plotly_chart(
        figure, config=chart(name), key=f"curve {name}", alt=f"{measure} over the epochs"
    )


def _actions(run: Snapshot) -> None:
    """Offer what can be done with a run in its state."""
    folder = RunFolder(run.path)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        training = (
            run.progress is not None and run.progress.share < 1
        )  # judging on test takes a minute and is not cancelled
        if training and st.button(
            "Cancel",
            icon=":material/stop:",
            help="Stops after the next step; finished epochs are kept.",
        ):
            launcher.cancel(folder)
            st.toast("The run stops after its next step.")
        if (
            run.status in ("cancelled", "interrupted", "failed")
            and run.config
            and st.button(
                "Resume",
                type="primary",
                icon=":material/resume:",
                help="Goes on after the last finished epoch.",
            )
        ):
            launcher.start(folder, ["resume", str(run.path), "--no-store"])
            st.rerun()
        if run.status == "finished" and not run.model_id:
            _make_model(run)
        if run.model_id:
            _links(run.model_id)
        with (
            st.popover("Rename or note", icon=":material/edit:"),
            st.form(f"label {run.run_id}", border=False),
        ):
            name = st.text_input("Name", run.label.name, placeholder=run.run_id, max_chars=80)
            note = st.text_area("Note", run.label.note, max_chars=2000)
            if st.form_submit_button("Save"):
                folder.write_label(Label(name.strip(), note.strip()))
                st.rerun()
        if not run.alive and st.button("Delete", icon=":material/delete:"):
            _confirm_delete(run)


def _make_model(run: Snapshot) -> None:
    with (
        st.popover("Make it a model", type="primary", icon=":material/package_2:"),
        st.form("model", border=False),
    ):
        st.markdown(
            "Judges the best epoch once on the test pictures, and writes weights, card and predictions."
        )
        model_id = st.text_input(
            "Name of the model", run.run_id, help="Letters, digits, dots, - and _"
        )
        if st.form_submit_button("Judge and store", type="primary"):
            try:
                new_model_folder(weights_folder(), model_id)
                launcher.start(
                    RunFolder(run.path), ["store", str(run.path), "--model-id", model_id]
                )
            except CovidxrError as error:
                show_error(str(error))
            else:
                st.rerun()


def _links(model_id: str) -> None:
    for page, label, icon in (
        ("pages/predict.py", "Try it on a picture", ":material/radiology:"),
        ("pages/evaluate.py", "See its figures on test", ":material/grid_on:"),
    ):
        if st.button(label, icon=icon, type="primary"):
            st.session_state["model"] = model_id
            st.switch_page(page)


@st.dialog("Delete this run?")
def _confirm_delete(run: Snapshot) -> None:
    kept = " The model made of it stays." if run.model_id else ""
    st.markdown(
        f"**{literal(run.name)}**, with its {len(run.epochs)} finished epochs, log and checkpoints, will be gone.{kept}"
    )
    with st.container(horizontal=True):
        if st.button("Delete it", type="primary", icon=":material/delete:"):
            launcher.delete(RunFolder(run.path))
            st.rerun()
        if st.button("Keep it"):
            st.rerun()


def all_runs(runs: Sequence[Snapshot]) -> None:
    """List the runs, filtered; those that are ticked are compared."""
    st.subheader("All runs", anchor=False)
    left, right = st.columns([1, 2])
    text = left.text_input(
        "Find", placeholder="Name, recipe, dataset or note", key="find"
    ).casefold()
    present = [state for state in _STATES if any(run.status == state for run in runs)]
    states = right.pills(
        "State", present, selection_mode="multi", format_func=_STATES.__getitem__, key="states"
    )
    shown = [run for run in runs if text in _searched(run) and (not states or run.status in states)]
    if not shown:
        st.caption("No run is like that.")
        return
    event = st.dataframe(
        {
            "Run": [run.name for run in shown],
            "State": [_STATES[run.status] for run in shown],
            "Recipe": [run.config.recipe.name if run.config else "" for run in shown],
            "Dataset": [run.config.data.rpartition("/")[2] if run.config else "" for run in shown],
            "Epochs": [len(run.epochs) for run in shown],
            "Macro-F1": [100 * run.best.val_macro_f1 if run.best else None for run in shown],
            "Accuracy": [100 * run.best.val_accuracy if run.best else None for run in shown],
            "Started": [
                datetime.fromisoformat(run.started) if run.started else None for run in shown
            ],
            "Model": [run.model_id or "" for run in shown],
        },
        hide_index=True,
        placeholder="",
        column_config={
            "Macro-F1": st.column_config.NumberColumn(
                format="%.1f %%", help="Best epoch, on the validation pictures"
            ),
            "Accuracy": st.column_config.NumberColumn(
                format="%.1f %%", help="The same epoch, on the validation pictures"
            ),
            "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
        },
        on_select="rerun",
        selection_mode="multi-row",
        key="runs",
        alt="The runs with their state, recipe, dataset and best figures",
    )
    ticked = [shown[row] for row in event.selection.rows if row < len(shown)]
    if len(ticked) < 2:
        st.caption(
            "Tick two runs or more to lay their curves over one another and see in which settings they differ."
        )
    elif len(ticked) > len(MODEL_COLOURS):
        st.caption(f"Tick {len(MODEL_COLOURS)} runs at most: more curves cannot be told apart.")
    else:
        _compare(ticked)
    st.caption(
        "For TensorBoard: `python -m covidxr runs --tensorboard events`, then `tensorboard --logdir events`."
    )


def _searched(run: Snapshot) -> str:
    config = f"{run.config.recipe.name} {run.config.data}" if run.config else ""
    return f"{run.name} {run.run_id} {run.label.note} {config} {run.model_id or ''}".casefold()


def _compare(runs: Sequence[Snapshot]) -> None:
    """Lay the curves of some runs over one another, and list the settings in which they differ."""
    left, right = st.columns([3, 2], gap="large")
    names = [
        run.name if [other.name for other in runs].count(run.name) == 1 else run.run_id
        for run in runs
    ]
    with left:
        title = st.segmented_control(
            "Measure on validation",
            list(_MEASURES),
            default="Macro-F1",
            required=True,
            key="measure",
        )
        _curve(
            {name: run.epochs for name, run in zip(names, runs, strict=True)},
            _MEASURES[title],
            (),
            "runs",
        )
    with right:
        st.markdown("**Settings that differ**")
        configs = [run.config for run in runs if run.config]
        if len(configs) < len(runs):
            st.caption("Not known: the configuration of one of them cannot be read.")
        elif differing := snapshot.differences(configs):
            columns = dict(
                zip(names, map(list, zip(*differing.values(), strict=True)), strict=True)
            )
            st.dataframe(
                {"Setting": list(differing), **columns},
                hide_index=True,
                alt="The settings in which the ticked runs differ",
            )
        else:
            st.caption("None: these runs were asked to do the same.")
