"""New run on the Train page: data, recipe, equivalent command and estimated cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import streamlit as st

from covidxr.app.frame import literal
from covidxr.app.splits import current_plan, keep_plan, protocol_titles
from covidxr.app.train.runs import snapshots
from covidxr.app.viewer import opened_dataset
from covidxr.config import runs_folder, variable
from covidxr.datasets.dataset import Dataset
from covidxr.datasets.exclusions import read_exclusions
from covidxr.datasets.opening import find_dataset
from covidxr.datasets.phantoms import default_dataset
from covidxr.errors import RunError
from covidxr.formatting import count, data_size, duration
from covidxr.models.architectures import ARCHITECTURES, architecture_title
from covidxr.models.recipes import RECIPES, STUDY_SETTINGS
from covidxr.records import Augmentation, Recipe, SplitPlan, display_name
from covidxr.runs import launcher
from covidxr.runs.export import train_arguments
from covidxr.runs.journal import RunConfig, RunFolder

_FIRST = ("architecture", "init", "image_size", "epochs", "batch_size", "learning_rate")
_AUGMENTATION = tuple(field.name for field in fields(Augmentation))


@dataclass(frozen=True, slots=True)
class _Data:
    """The data of a run, as chosen in the form."""

    path: str
    plan: SplitPlan
    exclusions: str
    skip_unreadable: bool


def new_run() -> None:
    """Show the form of a new run, and start the run.

    Raises:
        CovidxrError: If a setting is not valid.
    """
    name = st.selectbox(
        "Recipe",
        list(RECIPES),
        index=list(RECIPES).index("poster-cnn"),
        key="recipe",
        persist_state="session",
        help="Preset hyperparameters; all can be changed. poster-*: baseline study.",
    )
    recipe = RECIPES[name]
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Data", anchor=False)
        data = _choose_data()
    with right:
        st.subheader("Training", anchor=False)
        values = _controls(Recipe, _FIRST, recipe, columns=2)
        init_file = ""
        if values["init"] == "imagenet":
            init_file = st.text_input(
                "ImageNet weights file",
                key="init file",
                persist_state="session",
                placeholder="Empty: downloaded once by torchvision",
                help="For offline use, safetensors only. Pickle files are rejected.",
            )
    st.markdown("**Augmentation:** random transforms of the training images")
    values |= _controls(Augmentation, _AUGMENTATION, recipe, columns=5)
    with st.expander("More settings", icon=":material/tune:"):
        rest = [
            field.name for field in fields(Recipe) if field.metadata and field.name not in _FIRST
        ]
        values |= _controls(Recipe, rest, recipe, columns=5)
        at_once = st.checkbox(
            "Run concurrently",
            key="at once",
            persist_state="session",
            help="Otherwise the run is queued behind active ones. Concurrent runs take longer "
            "than the same runs one after the other.",
        )
    keep_plan(data.plan)
    excluded = read_exclusions(Path(data.exclusions)) if data.exclusions else ()
    config = RunConfig(
        recipe.override(**values),
        data.plan,
        data.path,
        _file_path(init_file),
        data.skip_unreadable,
        excluded,
    )
    _start(config, data.exclusions, ["--at-once"] if at_once else [])


def _choose_data() -> _Data:
    """Let the user choose the dataset, its split and what to exclude."""
    typed = st.text_input(
        "Dataset folder, zip or name",
        variable("COVIDXR_DATASET"),
        key="dataset",
        persist_state="session",
        placeholder="Empty: synthetic phantoms",
        help="Path on the server to the downloaded database, or the name of an imported dataset.",
    ).strip()
    path = str(find_dataset(typed).resolve()) if typed else str(default_dataset())
    dataset = opened_dataset(path)
    plan, titles = current_plan(), protocol_titles(dataset)
    left, right = st.columns([3, 1])
    protocol = left.selectbox(
        "Split",
        list(titles),
        list(titles).index(plan.protocol) if plan.protocol in titles else 0,
        titles.__getitem__,
        help="Patients shared between training and test inflate the measured performance.",
    )
    seed = right.number_input(
        "Split seed",
        value=plan.seed,
        step=1,
        help="Models with different splits are not comparable.",
    )
    exclusions = st.text_input(
        "Exclusion list",
        key="exclusions",
        persist_state="session",
        placeholder="Empty: all images are used",
        help="A CSV file `file,reason`, as saved by the audit on the Dataset page.",
    )
    skip = st.checkbox("Skip unreadable images", key="skip", persist_state="session")
    st.caption(_contents(dataset))
    return _Data(path, SplitPlan(protocol, seed, plan.fractions), exclusions, skip)


def _contents(dataset: Dataset) -> str:
    counts = ", ".join(f"{display_name(name)} {n:,}" for name, n in dataset.class_counts().items())
    noun = "synthetic phantom" if dataset.synthetic else "image"
    return f"{literal(dataset.name)}: {count(len(dataset.samples), noun)} ({counts})"


def _controls(
    record: type[Any], names: Sequence[str], recipe: Recipe, columns: int
) -> dict[str, Any]:
    """Draw one control for each field of a record, row by row; return the values by name."""
    by_name, hints = {field.name: field for field in fields(record)}, get_type_hints(record)
    holder = recipe if record is Recipe else recipe.augmentation
    values = {}
    for start in range(0, len(names), columns):
        places = st.columns(columns, vertical_alignment="bottom")
        for place, name in zip(places, names[start : start + columns], strict=False):
            with place:
                values[name] = _control(by_name[name], hints[name], getattr(holder, name), recipe)
    return values


def _control(field: Field[Any], hint: Any, value: Any, recipe: Recipe) -> Any:
    title, preset = field.metadata["title"], str(value)
    if field.name == "architecture":
        preset = architecture_title(value)
    elif isinstance(value, float):
        preset = f"{value:g}"
    study = STUDY_SETTINGS.get(field.name, "not used")
    common: dict[str, Any] = {
        "key": f"{recipe.name} {field.name}",
        "persist_state": "session",
        "help": f"{field.metadata['help']}  \n"
        f"This recipe: {literal(preset)}. Baseline study: {study}.",
    }
    if field.name == "architecture":
        names = list(ARCHITECTURES)
        return st.selectbox(title, names, names.index(value), architecture_title, **common)
    if get_origin(hint) is Literal:
        return st.selectbox(title, get_args(hint), get_args(hint).index(value), **common)
    if hint is bool:
        return st.checkbox(title, value, **common)
    if hint is int:
        return st.number_input(title, value=value, step=1, **common)
    # Without bounds: the record rejects a wrong value with a sentence that says what is allowed.
    return st.number_input(title, value=value, step=value / 10 or 0.01, format="%g", **common)


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
    """Show the equivalent command and its cost, and start the run on demand."""
    root = runs_folder()
    # The folder's name holds the time: keep it from one rerun to the next, until a run uses it.
    recipe, planned = st.session_state.get("planned", ("", Path()))
    if recipe != config.recipe.name or planned.exists():
        planned = launcher.new_run(root, config.recipe.name).path
        st.session_state["planned"] = (config.recipe.name, planned)
    arguments = [*train_arguments(config, planned, exclusions), *more]
    st.markdown("**Equivalent command**")
    st.code(launcher.command_line(arguments), language="bash", wrap_lines=True)
    with st.container(horizontal=True):
        started = st.button("Start training", type="primary", icon=":material/play_arrow:")
        estimate = st.button(
            "Estimate time and disk space",
            icon=":material/timer:",
            help="Benchmarks a few batches.",
        )
    # The cost does not depend on the folder's name.
    without_folder = tuple(argument for argument in arguments if argument != str(planned))
    if estimate:
        st.session_state["estimated"] = without_folder
    if started:
        launcher.start(RunFolder(planned), arguments)
        st.session_state.update({"run": planned.name, "next part": "Runs"})
        st.rerun()
    if st.session_state.get("estimated") == without_folder:
        _show_cost(_cost(without_folder, planned))


@st.cache_data(max_entries=32, ttl=600, show_spinner="Benchmarking: about 10 s…")
def _cost(arguments: tuple[str, ...], _run_dir: Path) -> dict[str, Any]:
    at = arguments.index("--run-dir") + 1
    return launcher.ask([*arguments[:at], str(_run_dir), *arguments[at:], "--estimate"])


def _show_cost(cost: dict[str, Any]) -> None:
    epochs = count(cost["epochs"], "epoch")
    time = f"About {duration(cost['seconds'])}: {epochs} at {duration(cost['seconds_an_epoch'])}"
    if cost["decode_seconds"]:
        time += f", plus {duration(cost['decode_seconds'])} to decode the images (first use only)"
    disk = (
        f"Disk space: {data_size(cost['run_bytes'])} for the run "
        f"({data_size(cost['free_bytes'])} free)"
    )
    if cost["cache_bytes"]:
        disk += (
            f", {data_size(cost['cache_bytes'])} for the decoded images "
            f"({data_size(cost['cache_free_bytes'])} free)"
        )
    slower = ""
    if any(run.alive for run in snapshots()):
        slower = " Another run is active and slows this one down."
    if cost["fits"]:
        st.info(f"{time}. {disk}.{slower}", icon=":material/timer:")
    else:
        st.error(
            f"{time}. {disk}: **insufficient disk space.** Free some space before you start.",
            icon=":material/hard_drive:",
        )
