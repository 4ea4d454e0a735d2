"""Commands on datasets: phantom, dataset summary, dataset audit, dataset split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from covidxr.cli.output import Data, Json, Protocol, Seed, Skip, make_table, print_result
from covidxr.errors import ConfigError
from covidxr.records import SplitFractions, SplitPlan


def phantom(
    folder: Annotated[Path, typer.Argument(help="New folder to write.")],
    per_class: Annotated[int, typer.Option(help="Images of each class.")] = 40,
    size: Annotated[int, typer.Option(help="Edge of the images in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same bytes.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a dataset of synthetic phantoms, not radiographs.

    Example: covidxr phantom phantoms --per-class 100
    """
    from covidxr.datasets.phantoms import write_phantoms

    written = write_phantoms(folder, per_class, size, seed)
    print_result(
        {"folder": str(written), "images": 4 * per_class},
        as_json,
        lambda c: c.print(f"{4 * per_class} phantoms in {written}"),
    )


def summary(data: Data = None, skip_unreadable: Skip = False, as_json: Json = False) -> None:
    """Count the images by class and by source.

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
        note = " (synthetic phantoms, not radiographs)" if dataset.synthetic else ""
        rows = [
            [n, f"{c:,}", ", ".join(f"{s} {k:,}" for s, k in sources[n].items())]
            for n, c in dataset.class_counts().items()
        ]
        console.print(
            make_table(
                f"{dataset.path}{note}: {len(dataset.samples):,} images",
                ["class", "images", "sources"],
                rows,
            )
        )
        for file, reason in dataset.skipped:
            console.print(f"skipped {file}: {reason}", markup=False)

    print_result(result, as_json, show)


def audit(
    data: Data = None,
    protocol: Protocol = "grouped",
    seed: Seed = 0,
    skip_unreadable: Skip = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write: every finding with its images.")
    ] = None,
    exclude_to: Annotated[
        Path | None,
        typer.Option(help="CSV file to write: images to leave out, for `train --exclude`."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Check whose images to leave out; may be repeated. Without it, those that need no look."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Summary for copies, leaks, faulty pictures, and properties that give the classes away.

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
            "--exclude chooses what goes into an exclusion list: name its file with --exclude-to"
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
        note = " (synthetic phantoms, not radiographs)" if audited.dataset.synthetic else ""
        rows = [
            [finding.check, f"{len(finding.files):,}", finding.sentence]
            for finding in audited.findings
        ]
        console.print(
            make_table(
                f"{audited.dataset.path}{note}: {result['n']:,} images",
                ["check", "images", "what was found"],
                rows,
            )
        )
        if audited.not_divided:
            console.print(f"leaks were not looked for: {audited.not_divided}", markup=False)
        rows = [
            [spurious.property, f"{spurious.auroc:.3f}", spurious.sentence]
            for spurious in audited.spurious
        ]
        console.print(
            make_table("What gives the classes away", ["property", "AUROC", "what it says"], rows)
        )
        for file, reason in audited.dataset.skipped:
            console.print(f"skipped {file}: {reason}", markup=False)
        if exclude_to:
            console.print(
                f"{result['excluded']:,} images to leave out in {exclude_to}", markup=False
            )

    print_result(result, as_json, show)


def split(
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    data: Data = None,
    protocol: Protocol = "grouped",
    seed: Seed = 0,
    train: Annotated[float, typer.Option(help="Share of the training images.")] = 0.70,
    val: Annotated[float, typer.Option(help="Share of the validation images.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the test images.")] = 0.15,
    skip_unreadable: Skip = False,
    as_json: Json = False,
) -> None:
    """Divide a dataset into train, val and test, and write the split as CSV.

    Example: covidxr dataset split --data COVID-19_Radiography_Dataset --out split.csv
    """
    from covidxr.datasets.opening import open_dataset
    from covidxr.datasets.phantoms import default_dataset
    from covidxr.datasets.splits import split_data, write_split

    plan = SplitPlan(protocol, seed, SplitFractions(train, val, test))  # type: ignore[arg-type]
    divided = split_data(open_dataset(data or default_dataset()), plan, skip_unreadable)
    names = divided.dataset.class_names
    write_split(divided.split, names, out)
    counts = divided.split.counts(names)
    result = {
        "out": str(out),
        "protocol": protocol,
        "seed": seed,
        "fingerprint": divided.split.fingerprint,
        "counts": counts,
    }
    rows = [[name, *(f"{c[n]:,}" for n in names)] for name, c in counts.items()]
    title = f"{protocol}, seed {seed}, fingerprint {divided.split.fingerprint}"
    print_result(result, as_json, lambda c: c.print(make_table(title, ["split", *names], rows)))
