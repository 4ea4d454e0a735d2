"""One run on the Train page: status, actions, progress, learning curves and log."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from covidxr.app.frame import literal, show_error
from covidxr.app.widgets import chart, ink
from covidxr.cards import EpochMetrics
from covidxr.config import runs_folder, weights_folder
from covidxr.errors import CovidxrError
from covidxr.figures import Measure, learning_figure
from covidxr.formatting import NO_VALUE, count, duration
from covidxr.models.store import new_model_folder
from covidxr.runs import launcher, snapshot
from covidxr.runs.journal import Label, RunFolder
from covidxr.runs.snapshot import Snapshot

STATUS_TITLES = {
    "new": "Not started",
    "starting": "Starting",
    "queued": "Queued",
    "running": "Running",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Canceled",
    "interrupted": "Interrupted",
}
METRICS: dict[str, Measure] = {"Macro-F1": "macro_f1", "Accuracy": "accuracy", "Loss": "loss"}
_BADGES = {
    "finished": "green",
    "failed": "red",
    "interrupted": "orange",
    "cancelled": "gray",
    "queued": "gray",
    "new": "gray",
}
_POLL_SECONDS = 2
_LOG_LINES = 30


def run_section(run: Snapshot) -> None:
    """Show a run and what can be done with it; an active run is followed live."""
    badge = f":{_BADGES.get(run.status, 'blue')}-badge[{STATUS_TITLES[run.status]}]"
    st.subheader(f"{literal(run.name)} {badge}", anchor=False)
    if run.label.note:
        st.markdown(literal(run.label.note))
    if run.reason:
        st.warning(literal(f"{run.reason[:1].upper()}{run.reason[1:]}."), icon=":material/warning:")
    _actions(run)
    st.fragment(_live, run_every=_POLL_SECONDS if run.alive else None)(run.run_id, run.status)


def draw_curves(
    runs: dict[str, Sequence[EpochMetrics]],
    metric: Measure,
    steps: Sequence[tuple[float, float]],
    name: str,
) -> None:
    """Draw a metric over the epochs of runs.

    Args:
        runs: Epochs by name of the run.
        metric: What to draw.
        steps: (epochs done, training loss) within the epochs of a single run.
        name: Of the file, for downloads.
    """
    if not steps and not any(runs.values()):
        st.caption("Available after the first epoch.")
        return
    figure = learning_figure(runs, metric, ink(), steps)
    title = next(title for title, own in METRICS.items() if own == metric)
    st.plotly_chart(figure, config=chart(name), key=f"curve {name}", alt=f"{title} by epoch")


def _live(run_id: str, status: str) -> None:
    """Show what changes while a run is active; a new status redraws the whole page."""
    try:
        run = snapshot.take(launcher.find_run(runs_folder(), run_id))
    except CovidxrError:
        # Deleted in another tab.
        st.rerun()
    if run.status != status:
        st.rerun()
    if run.progress:
        facts = [run.progress.doing]
        if run.progress.images_per_second:
            facts.append(f"{run.progress.images_per_second:,.0f} images/s")
        if run.progress.seconds_left:
            facts.append(f"about {duration(run.progress.seconds_left)} left")
        st.progress(run.progress.share, literal(" · ".join(facts)))
    _best_epoch(run)
    if run.epochs or run.steps:
        for place, (title, metric) in zip(
            st.columns(3, gap="medium"), reversed(METRICS.items()), strict=True
        ):
            with place:
                st.markdown(f"**{title}**")
                steps = run.steps if metric == "loss" else ()
                draw_curves({run.name: run.epochs}, metric, steps, f"{run.run_id}-{metric}")
    with st.expander("Log", icon=":material/terminal:", expanded=run.status == "failed"):
        st.code(
            RunFolder(run.path).log_tail(_LOG_LINES) or "Empty.",
            language=None,
            wrap_lines=True,
        )
        st.caption(literal(str(run.path)))


def _best_epoch(run: Snapshot) -> None:
    """Show the metrics of the best epoch so far, and the speed."""
    best = run.best
    total = run.config.recipe.epochs if run.config else "?"
    speed = run.images_per_second
    values = {
        "Best val. macro-F1": f"{best.val_macro_f1:.1%}" if best else NO_VALUE,
        "Val. accuracy at best epoch": f"{best.val_accuracy:.1%}" if best else NO_VALUE,
        "Best epoch": f"{best.epoch} of {total}" if best else NO_VALUE,
        "Elapsed": duration(run.seconds) if run.seconds else NO_VALUE,
        "Images/s": f"{speed:,.0f}" if speed else NO_VALUE,
    }
    with st.container(horizontal=True, gap="medium"):
        for title, value in values.items():
            st.metric(title, value, width="content")


def _actions(run: Snapshot) -> None:
    """Offer what can be done with a run in its state."""
    folder = RunFolder(run.path)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        # The evaluation on the test set takes a minute and cannot be canceled.
        training = run.progress is not None and run.progress.share < 1
        if training and st.button(
            "Cancel",
            icon=":material/stop:",
            help="Stops after the current step; completed epochs are kept.",
        ):
            launcher.cancel(folder)
            st.toast("Stopping…")
        resumable = run.status in ("cancelled", "interrupted", "failed") and run.config
        if resumable and st.button(
            "Resume",
            type="primary",
            icon=":material/resume:",
            help="Continues from the last completed epoch.",
        ):
            launcher.start(folder, ["resume", str(run.path), "--no-store"])
            st.rerun()
        if run.status == "finished" and not run.model_id:
            _publish(run)
        if run.model_id:
            _links(run.model_id)
        _edit(run)
        if not run.alive and st.button("Delete", icon=":material/delete:"):
            _confirm_delete(run)


def _edit(run: Snapshot) -> None:
    with (
        st.popover("Edit name and note", icon=":material/edit:"),
        st.form(f"label {run.run_id}", border=False),
    ):
        name = st.text_input("Name", run.label.name, placeholder=run.run_id, max_chars=80)
        note = st.text_area("Note", run.label.note, max_chars=2000)
        if st.form_submit_button("Save"):
            RunFolder(run.path).write_label(Label(name.strip(), note.strip()))
            st.rerun()


def _publish(run: Snapshot) -> None:
    with (
        st.popover("Publish as model", type="primary", icon=":material/package_2:"),
        st.form("model", border=False),
    ):
        st.markdown(
            "Evaluates the best checkpoint on the test set and saves weights, model card and "
            "predictions."
        )
        model_id = st.text_input("Model name", run.run_id, help="Letters, digits, dots, - and _")
        if st.form_submit_button("Evaluate and publish", type="primary"):
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
        ("pages/predict.py", "Analyze an image", ":material/radiology:"),
        ("pages/evaluate.py", "View test results", ":material/grid_on:"),
    ):
        if st.button(label, icon=icon, type="primary"):
            st.session_state["model"] = model_id
            st.switch_page(page)


@st.dialog("Delete this run?")
def _confirm_delete(run: Snapshot) -> None:
    kept = " The published model is kept." if run.model_id else ""
    st.markdown(
        f"**{literal(run.name)}** with {count(len(run.epochs), 'completed epoch')}, its log and "
        f"its checkpoints will be deleted.{kept}"
    )
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", icon=":material/delete:", key="delete"):
            launcher.delete(RunFolder(run.path))
            st.rerun()
        if st.button("Cancel", key="keep"):
            st.rerun()
