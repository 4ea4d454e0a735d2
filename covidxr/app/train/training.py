"""The form of a new run: one control for each field of the recipe, the command line it amounts to, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import streamlit as st

from covidxr.app.dataset.datasets import plan, protocol_titles
from covidxr.app.frame import literal
from covidxr.app.train.runs import snapshots
from covidxr.app.viewer import opened_dataset
from covidxr.config import runs_folder, variable
from covidxr.datasets.exclusions import read_exclusions
from covidxr.datasets.opening import find_dataset
from covidxr.datasets.phantoms import default_dataset
from covidxr.errors import RunError
from covidxr.formatting import data_size, duration
from covidxr.models.architectures import ARCHITECTURES, architecture_title
from covidxr.models.recipes import RECIPES, STUDY_SETTINGS
from covidxr.records import Augmentation, Recipe, SplitPlan, display_name
from covidxr.runs import launcher
from covidxr.runs.export import train_arguments
from covidxr.runs.journal import RunConfig, RunFolder

_FIRST = ("architecture", "init", "image_size", "epochs", "batch_size", "learning_rate")
_AUGMENTATION = tuple(field.name for field in fields(Augmentation))


def new_run() -> None:
    """Show the form, refuse what makes no sense, and start the run. Raises CovidxrError with the sentence of what is wrong."""
    name = st.selectbox(
        "Recipe",
        list(RECIPES),
        index=list(RECIPES).index("poster-cnn"),
        key="recipe",
        persist_state="session",
        help="A set of values to begin with; each can be changed below. The poster's are the study's.",
    )
    base = RECIPES[name]
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Data", anchor=False)
        data = st.text_input(
            "Dataset folder, zip or name",
            variable("COVIDXR_DATASET"),
            key="dataset",
            persist_state="session",
            placeholder="Empty: synthetic phantoms, for trying things out",
            help="The COVID-19 Radiography Database as downloaded, on the machine that runs this app, or the name of an import.",
        )
        division = plan()
        titles = protocol_titles(opened_dataset(_data_path(data)))
        one, two = st.columns([3, 1])
        protocol = one.selectbox(
            "Split",
            list(titles),
            list(titles).index(division.protocol) if division.protocol in titles else 0,
            titles.__getitem__,
            help="Pictures of one patient on both sides of the split flatter a model. The study: at random.",
        )
        seed_help = (
            "Another seed draws another split; models of different splits cannot be compared."
        )
        split_seed = two.number_input("Split seed", value=division.seed, step=1, help=seed_help)
        exclusions = st.text_input(
            "Exclusion list",
            key="exclusions",
            persist_state="session",
            placeholder="Empty: no picture is excluded",
            help="A CSV `file,reason`, as the audit on the Dataset page makes one.",
        )
        skip = st.checkbox(
            "Leave out pictures that cannot be read", key="skip", persist_state="session"
        )
    with right:
        st.subheader("Training", anchor=False)
        values = _controls(Recipe, _FIRST, base, columns=2)
        init_file = ""
        if values["init"] == "imagenet":
            init_file = st.text_input(
                "File of ImageNet weights",
                key="init file",
                persist_state="session",
                placeholder="Empty: downloaded once by torchvision",
                help="A safetensors file, for machines without a connection. Pickled weights are never opened.",
            )
    st.markdown(
        "**Augmentation:** random changes to the training pictures, so that none is seen twice alike"
    )
    values |= _controls(Augmentation, _AUGMENTATION, base, columns=5)
    with st.expander("More settings", icon=":material/tune:"):
        rest = [
            field.name for field in fields(Recipe) if field.metadata and field.name not in _FIRST
        ]
        values |= _controls(Recipe, rest, base, columns=5)
        at_once = st.checkbox(
            "Start at once, beside other runs",
            key="at once",
            persist_state="session",
            help="Otherwise a run waits until those before it have ended. Two at once take longer than one after the other.",
        )
    dataset = opened_dataset(_data_path(data))
    counts = ", ".join(f"{display_name(name)} {n:,}" for name, n in dataset.class_counts().items())
    kind = "synthetic phantoms" if dataset.synthetic else "pictures"
    left.caption(f"{literal(dataset.name)}: {len(dataset.samples):,} {kind} ({counts})")
    new = st.session_state["plan"] = SplitPlan(protocol, split_seed, division.fractions)
    excluded = read_exclusions(Path(exclusions)) if exclusions else ()
    config = RunConfig(
        base.override(**values), new, _data_path(data), _file_path(init_file), skip, excluded
    )
    _start(config, exclusions, ["--at-once"] if at_once else [])


def _controls(
    record: type[Any], names: Iterable[str], base: Recipe, columns: int
) -> dict[str, Any]:
    """Draw one control for each of a record's fields, in columns; return the values by name."""
    by_name, hints = {field.name: field for field in fields(record)}, get_type_hints(record)
    places = st.columns(columns, vertical_alignment="bottom")
    values = {}
    for number, name in enumerate(names):
        with places[number % columns]:
            holder = base if record is Recipe else base.augmentation
            values[name] = _control(by_name[name], hints[name], getattr(holder, name), base)
    return values


def _control(field: Field[Any], hint: Any, value: Any, base: Recipe) -> Any:
    title, key = field.metadata["title"], f"{base.name} {field.name}"
    study = STUDY_SETTINGS.get(field.name, "not used")
    shown = (
        architecture_title(value)
        if field.name == "architecture"
        else f"{value:g}"
        if isinstance(value, float)
        else value
    )
    common: dict[str, Any] = {"key": key, "persist_state": "session"}
    common["help"] = (
        f"{field.metadata['help']}  \nThis recipe: {literal(str(shown))}. The study: {study}."
    )
    if field.name == "architecture":
        names = list(ARCHITECTURES)
        return st.selectbox(title, names, names.index(value), architecture_title, **common)
    if get_origin(hint) is Literal:
        return st.selectbox(title, get_args(hint), get_args(hint).index(value), **common)
    if hint is bool:
        return st.checkbox(title, value, **common)
    if hint is int:
        return st.number_input(title, value=value, step=1, **common)
    # Without bounds: a value that makes no sense is refused by the record's own sentence, which says what does.
    return st.number_input(title, value=value, step=value / 10 or 0.01, format="%g", **common)


def _data_path(typed: str) -> str:
    return str(find_dataset(typed.strip()).resolve()) if typed.strip() else str(default_dataset())


def _file_path(typed: str) -> str | None:
    if not typed.strip():
        return None
    path = Path(typed).expanduser().resolve()
    if not path.is_file():
        raise RunError(
            f"there is no file {path} of initial weights; check the path, or leave the field empty"
        )
    return str(path)


def _start(config: RunConfig, exclusions: str, more: Sequence[str]) -> None:
    """Show the command line and what it would cost, and start it when asked to."""
    root = runs_folder()
    # The folder's name holds the time: it stays the same from one rerun to the next, until a run has taken it.
    recipe, planned = st.session_state.get("planned", ("", Path()))
    if recipe != config.recipe.name or planned.exists():
        planned = launcher.new_run(root, config.recipe.name).path
        st.session_state["planned"] = (config.recipe.name, planned)
    arguments = [*train_arguments(config, planned, exclusions), *more]
    st.markdown("**The command that this starts:**")
    st.code(launcher.command_line(arguments), language="bash", wrap_lines=True)
    with st.container(horizontal=True):
        started = st.button("Start training", type="primary", icon=":material/play_arrow:")
        asked = st.button(
            "Estimate time and disk",
            icon=":material/timer:",
            help="Trains a few batches to find out.",
        )
    # What the run's folder is called changes nothing.
    without_folder = tuple(argument for argument in arguments if argument != str(planned))
    if asked:
        st.session_state["estimated"] = without_folder
    if started:
        launcher.start(RunFolder(planned), arguments)
        st.session_state.update({"run": planned.name, "next part": "Runs"})
        st.rerun()
    if st.session_state.get("estimated") == without_folder:
        _show_cost(_cost(without_folder, planned))


@st.cache_data(max_entries=32, ttl=600, show_spinner="Training a few batches: about ten seconds…")
def _cost(arguments: tuple[str, ...], _run_dir: Path) -> dict[str, Any]:
    at = arguments.index("--run-dir") + 1
    return launcher.ask([*arguments[:at], str(_run_dir), *arguments[at:], "--estimate"])


def _show_cost(cost: dict[str, Any]) -> None:
    time = f"About {duration(cost['seconds'])}: {cost['epochs']} epochs of {duration(cost['seconds_an_epoch'])} each"
    if cost["decode_seconds"]:
        time += f", and {duration(cost['decode_seconds'])} to decode the pictures, once"
    disk = f"Disk: {data_size(cost['run_bytes'])} for the run ({data_size(cost['free_bytes'])} are free)"
    if cost["cache_bytes"]:
        disk += f", {data_size(cost['cache_bytes'])} for the decoded pictures ({data_size(cost['cache_free_bytes'])} are free)"
    beside = (
        " Another run is training: alone this one would be faster."
        if any(run.alive for run in snapshots())
        else ""
    )
    if cost["fits"]:
        st.info(f"{time}. {disk}.{beside}", icon=":material/timer:")
    else:
        st.error(
            f"{time}. {disk}: **that is not enough.** Make room before you start.",
            icon=":material/hard_drive:",
        )
