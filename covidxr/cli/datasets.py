"""Commands on datasets: phantom, dataset summary, dataset audit, dataset split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from covidxr.cli.output import (
    Data,
    Json,
    Protocol,
    Seed,
    Skip,
    make_table,
    print_lines,
    print_result,
)
from covidxr.errors import ConfigError
from covidxr.formatting import count
from covidxr.records import SplitFractions, SplitPlan, display_name

if TYPE_CHECKING:
    from covidxr.datasets.dataset import Dataset


def phantom(
    folder: Annotated[Path, typer.Argument(help="New folder for the dataset.")],
    per_class: Annotated[int, typer.Option(help="Images per class.")] = 40,
    size: Annotated[int, typer.Option(help="Image width and height in pixels.")] = 256,
    seed: Annotated[
        int, typer.Option(help="Random seed; the same seed gives identical files.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Create a dataset of synthetic phantoms, which are not radiographs.

    Example: covidxr phantom phantoms --per-class 100
    """
    from covidxr.datasets.phantoms import write_phantoms

    written = write_phantoms(folder, per_class, size, seed)
    result = {"folder": str(written), "images": 4 * per_class}
    line = f"{count(4 * per_class, 'phantom')} in {written}"
    print_result(result, as_json, lambda console: print_lines(console, line))


def summary(data: Data = None, skip_unreadable: Skip = False, as_json: Json = False) -> None:
    """Count the images by class and source.

    Example: covidxr dataset summary --data COVID-19_Radiography_Dataset
    """
    from covidxr.datasets.duplicates import THUMBNAIL
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.datasets.pixels import decode

    dataset = open_dataset(data or default_dataset())
    dataset = dataset.without(decode(dataset, THUMBNAIL, skip_unreadable).skipped)
    sources = dataset.sources()
    result = {
        "data": str(dataset.path),
        "synthetic": dataset.synthetic,
        "fingerprint": dataset.fingerprint,
        "n": len(dataset.samples),
        "classes": dataset.class_counts(),
        "sources": sources,
        "masks": sum(s.mask is not None for s in dataset.samples),
        "skipped": [{"file": file, "reason": reason} for file, reason in dataset.skipped],
    }

    def show(console: Console) -> None:
        rows = [
            [
                display_name(name),
                f"{n:,}",
                ", ".join(f"{source} {k:,}" for source, k in sources[name].items()),
            ]
            for name, n in dataset.class_counts().items()
        ]
        console.print(make_table(_title(dataset), ["class", "images", "sources"], rows))
        print_lines(console, *_skipped_lines(dataset))

    print_result(result, as_json, show)


def _title(dataset: Dataset) -> str:
    note = " (synthetic phantoms, not radiographs)" if dataset.synthetic else ""
    return f"{dataset.path}{note}: {count(len(dataset.samples))}"


def _skipped_lines(dataset: Dataset) -> list[str]:
    return [f"skipped {file}: {reason}" for file, reason in dataset.skipped]


def audit(
    data: Data = None,
    protocol: Protocol = "grouped",
    seed: Seed = 0,
    skip_unreadable: Skip = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for all issues with their images.")
    ] = None,
    exclude_to: Annotated[
        Path | None,
        typer.Option(help="CSV file for the images to exclude, for `train --exclude`."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Check whose images to exclude. Repeatable. Default: the checks that need no "
            "review."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find duplicates, leakage, image quality issues and shortcut features.

    Example: covidxr dataset audit --data COVID-19_Radiography_Dataset --exclude-to exclusions.csv
    """
    from covidxr.datasets.audit.dataset_audit import audit_dataset, audit_json
    from covidxr.datasets.audit.findings import ADVISED, exclusions, findings_csv
    from covidxr.datasets.exclusions import write_exclusions
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.storage import write_text

    if exclude and not exclude_to:
        raise ConfigError(
            "--exclude selects the images of an exclusion list: name its file with --exclude-to"
        )
    plan = SplitPlan(protocol, seed)  # type: ignore[arg-type]
    audited = audit_dataset(open_dataset(data or default_dataset()), plan, skip_unreadable)
    checks = {finding.check: finding for finding in audited.findings}
    unknown = sorted(set(exclude or ()) - set(checks))
    if unknown:
        raise ConfigError(f"--exclude must be one of {', '.join(checks)}, got {', '.join(unknown)}")
    result = audit_json(audited)
    if out:
        write_text(out, findings_csv(audited.findings, audited.dataset, audited.split))
        result["out"] = str(out)
    if exclude_to:
        excluded = exclusions(checks[check] for check in exclude or ADVISED)
        write_exclusions(exclude_to, excluded)
        result |= {"exclude_to": str(exclude_to), "excluded": len(excluded)}

    def show(console: Console) -> None:
        rows = [
            [finding.check, f"{len(finding.files):,}", finding.sentence]
            for finding in audited.findings
        ]
        console.print(make_table(_title(audited.dataset), ["check", "images", "result"], rows))
        if audited.not_divided:
            print_lines(console, f"leakage not checked: {audited.not_divided}")
        rows = [
            [spurious.property, f"{spurious.auroc:.3f}", spurious.sentence]
            for spurious in audited.spurious
        ]
        columns = ["feature", "AUROC", "interpretation"]
        console.print(make_table("Shortcut features", columns, rows))
        print_lines(console, *_skipped_lines(audited.dataset))
        if exclude_to:
            print_lines(console, f"{count(result['excluded'])} to exclude, listed in {exclude_to}")

    print_result(result, as_json, show)


def split(
    out: Annotated[Path, typer.Option(help="CSV file for the split.")],
    data: Data = None,
    protocol: Protocol = "grouped",
    seed: Seed = 0,
    train: Annotated[float, typer.Option(help="Fraction of training images.")] = 0.70,
    val: Annotated[float, typer.Option(help="Fraction of validation images.")] = 0.15,
    test: Annotated[float, typer.Option(help="Fraction of test images.")] = 0.15,
    skip_unreadable: Skip = False,
    as_json: Json = False,
) -> None:
    """Split a dataset into train, val and test, and write the split as CSV.

    Example: covidxr dataset split --data COVID-19_Radiography_Dataset --out split.csv
    """
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.datasets.splits import split_data, write_split

    plan = SplitPlan(protocol, seed, SplitFractions(train, val, test))  # type: ignore[arg-type]
    found = split_data(open_dataset(data or default_dataset()), plan, skip_unreadable)
    names = found.dataset.class_names
    write_split(found.split, names, out)
    counts = found.split.counts(names)
    result = {
        "out": str(out),
        "protocol": protocol,
        "seed": seed,
        "fingerprint": found.split.fingerprint,
        "counts": counts,
    }
    rows = [[split, *(f"{own[name]:,}" for name in names)] for split, own in counts.items()]
    title = f"{protocol}, seed {seed}, split hash {found.split.fingerprint}"
    table = make_table(title, ["split", *map(display_name, names)], rows)
    print_result(result, as_json, lambda console: console.print(table))
