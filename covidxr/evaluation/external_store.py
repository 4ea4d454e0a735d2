"""External tests of a model, beside its weights: what it said of a dataset that it was neither trained nor judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from covidxr.errors import ConfigError, ModelError
from covidxr.models.store import is_plain_name, read_card, read_table, to_table
from covidxr.records import Interval, Predictions
from covidxr.storage import from_json, to_json, write_text


@dataclass(frozen=True, slots=True)
class ExternalTest:
    """What was judged, and what came out; stored as external/<name>.json in the model's folder, beside <name>.csv."""

    name: str
    dataset_name: str
    dataset_fingerprint: str
    class_counts: dict[str, int]
    """Pictures that were judged, by class; 0 for a class that the dataset does not have."""
    labels: dict[str, str]
    """What each of the dataset's own labels was taken for; empty for the database's own layout."""
    left_out: int
    """Pictures of the dataset that were not judged: of an unmapped label, of another split than test, or unreadable."""
    metrics: dict[str, Interval]
    """Figures over all classes, as in a model's card, with 95 % intervals."""
    created: str
    covidxr_version: str


def external_file(folder: Path, name: str) -> Path:
    """Return where an external test of the model in `folder` is described. Raises ModelError for a name that is not a plain one."""
    if not is_plain_name(name):
        raise ModelError(
            f"{name!r} is no name for an external test: letters, digits, dots, - and _ make one"
        )
    return folder / "external" / f"{name}.json"


def list_external(folder: Path) -> tuple[str, ...]:
    """Return the names of a model's external tests, sorted."""
    return tuple(
        sorted(
            path.stem for path in (folder / "external").glob("*.json") if is_plain_name(path.stem)
        )
    )


def save_external(folder: Path, test: ExternalTest, predictions: Predictions) -> None:
    """Store an external test, in place of one of the same name. The description comes last: without it there is no test."""
    description = external_file(folder, test.name)
    write_text(_table(description), to_table(predictions))
    write_text(description, to_json(test))


def read_external(folder: Path, name: str) -> tuple[ExternalTest, Predictions]:
    """Read an external test of the model in `folder`. Raises ModelError when it is missing, damaged or half of another one."""
    card, description = read_card(folder), external_file(folder, name)
    what = f"the external test {name} of {folder.name}"
    try:
        test = from_json(ExternalTest, description.read_text("utf-8"), what)
    except FileNotFoundError:
        known = ", ".join(list_external(folder)) or "none"
        raise ModelError(
            f"{folder.name} has no external test {name}, it has {known}; make it with `covidxr evaluate {folder.name} --external "
            f"DATA --name {name}`"
        ) from None
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ModelError(
            f"{what} cannot be read: {error}; evaluate the model on the dataset again"
        ) from error
    predictions = read_table(_table(description), card.class_names, f"the predictions of {what}")
    counts = {
        class_name: int((predictions.y_true == k).sum())
        for k, class_name in enumerate(card.class_names)
    }
    if test.name != name or test.class_counts != counts or set(predictions.splits) != {"test"}:
        raise ModelError(
            f"{what} is not what its predictions say; evaluate the model on the dataset again"
        )
    return test, predictions


def _table(description: Path) -> Path:
    return description.with_name(f"{description.name.removesuffix('.json')}.csv")
