"""External evaluations."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from covidxr.config import weights_folder
from covidxr.datasets.custom import ImportPlan, write_import
from covidxr.datasets.opening import open_dataset
from covidxr.errors import ConfigError, DatasetError, ModelError
from covidxr.evaluation import external
from covidxr.evaluation.results import evaluate_stored
from covidxr.evaluation.stored import (
    compare_stored,
    external_evaluations,
    stored_predictions,
)
from covidxr.metrics.calibration import apply_temperature
from covidxr.models import store
from covidxr.prediction.loading import load_classifier
from covidxr.records import CLASS_NAMES
from tests.helpers import evaluate, evaluate_external

pytestmark = pytest.mark.usefixtures("phantom_models")

LABELS = {name: name for name in CLASS_NAMES}


@pytest.fixture(autouse=True)
def weights(
    phantom_models: None, two_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Two models to which a test may add external evaluations."""
    root = shutil.copytree(two_models, tmp_path / "weights")
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(root))
    return root


@pytest.fixture
def rows(phantoms: Path) -> list[dict[str, str]]:
    """CSV rows of the model's own test images."""
    part = stored_predictions("phantom-cnn")[1].take("test")
    with (phantoms / "sources.csv").open(newline="") as file:
        known = {row["file"]: row for row in csv.DictReader(file)}
    return [
        {
            "file": f,
            "label": part.class_names[k],
            **{c: known[f][c] for c in ("source", "patient_id")},
        }
        for f, k in zip(part.samples, part.y_true, strict=True)
    ]


def import_rows(
    folder: Path,
    phantoms: Path,
    rows: list[dict[str, str]],
    name: str = "clinic",
    labels: dict[str, str] = LABELS,
) -> str:
    """Import copies of the images of some rows by a CSV file; return the name of the import."""
    for row in rows:
        (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(phantoms / row["file"], folder / row["file"])
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    write_import(ImportPlan(name, str(folder / "table.csv"), labels))
    return name


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a JSON value with its path."""
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from numbers(inner, f"{path}/{key}")
    else:
        yield path, value


def test_copies_of_the_test_images_have_the_metrics_of_the_test_split(
    phantoms: Path, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    result = evaluate_external("phantom-cnn", import_rows(tmp_path / "data", phantoms, rows))
    own = evaluate("phantom-cnn")
    assert (result.pop("external"), result.pop("left_out"), result.pop("shortcuts")) == (
        "clinic",
        0,
        [],
    )
    assert own.pop("shortcuts") != []
    expected, found = dict(numbers(own)), dict(numbers(result))
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path] == (
            pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
        ), path
    card, predictions = stored_predictions("phantom-cnn", "clinic")
    own_card, stored = stored_predictions("phantom-cnn")
    part = stored.take("test")
    rows_of_part = [predictions.samples.index(sample) for sample in part.samples]
    assert np.allclose(predictions.y_score[rows_of_part], part.y_score, atol=1e-5)
    assert predictions.y_true[rows_of_part].tolist() == part.y_true.tolist()
    assert card.metrics.keys() == own_card.metrics.keys()
    assert card.metrics["accuracy"] == own_card.metrics["accuracy"]


def test_the_card_is_that_of_the_model_except_for_the_dataset(
    phantoms: Path, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    data = import_rows(tmp_path / "data", phantoms, rows)
    assert external_evaluations("phantom-cnn") == ()
    evaluate_external("phantom-cnn", data, "b")
    evaluate_external("phantom-cnn", data)
    assert external_evaluations("phantom-cnn") == ("b", "clinic")
    card, predictions = stored_predictions("phantom-cnn", "clinic")
    own = load_classifier("phantom-cnn").card
    assert (card.external, own.external) == ("clinic", "")
    assert card.dataset_name == "clinic"
    assert card.dataset_fingerprint == open_dataset("clinic").fingerprint != own.dataset_fingerprint
    assert card.class_counts == {"test": dict.fromkeys(CLASS_NAMES, 6)}
    assert card.sources == {name: {"phantom": 6} for name in CLASS_NAMES}
    assert (card.shortcuts, card.prediction_sets, card.gate) == ((), None, None)
    changed = {
        "external",
        "dataset_name",
        "dataset_fingerprint",
        "class_counts",
        "sources",
        "metrics",
        "shortcuts",
        "prediction_sets",
        "gate",
    }
    same = {name for name in own.__slots__ if getattr(own, name) == getattr(card, name)}
    assert set(own.__slots__) - same <= changed
    with pytest.raises(ConfigError, match="no predictions for the split 'val'"):
        predictions.take("val")
    # A stored card is never marked as external.
    store.save_model(
        tmp_path / "else",
        card,
        dict(load_classifier("phantom-cnn").network.state_dict()),
        predictions,
    )
    assert store.read_card(tmp_path / "else" / "phantom-cnn").external == ""


def test_only_classes_of_the_dataset_have_metrics(
    phantoms: Path, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    rows = [row for row in rows if row["label"] in ("Normal", "COVID")]
    data = import_rows(
        tmp_path / "data", phantoms, rows, labels={"Normal": "Normal", "COVID": "COVID"}
    )
    result = evaluate_external("phantom-cnn", data)
    json.dumps(result, allow_nan=False)
    assert result["n"] == 12
    for name in ("Viral Pneumonia", "Lung_Opacity"):
        own = result["per_class"][name]
        assert own["support"] == 0
        assert [own[key] for key in ("sensitivity", "f1", "auroc", "auprc")] == [None] * 4
        assert own["specificity"] is not None
    present = [result["per_class"][name] for name in ("Normal", "COVID")]
    assert result["macro_f1"]["estimate"] == pytest.approx(
        np.mean([own["f1"]["estimate"] for own in present])
    )
    assert result["balanced_accuracy"]["estimate"] == pytest.approx(
        np.mean([own["sensitivity"]["estimate"] for own in present])
    )
    shown = evaluate_stored(*stored_predictions("phantom-cnn", "clinic"))
    assert shown.figures.macro_f1.estimate == result["macro_f1"]["estimate"]
    for name, rules in shown.operating_points.items():
        for point in rules.values():
            assert point is None or (point.sensitivity is None) == (name not in ("Normal", "COVID"))
    # One class alone still has an accuracy.
    normal = import_rows(
        tmp_path / "one", phantoms, rows[:6], "one", {rows[0]["label"]: rows[0]["label"]}
    )
    alone = evaluate_external("phantom-cnn", normal)
    assert (alone["kappa"], alone["mcc"], alone["n"]) == (None, None, 6)
    json.dumps(alone, allow_nan=False)


def test_models_are_compared_on_an_external_evaluation(
    phantoms: Path, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    rows = [row for row in rows if row["label"] in ("Normal", "COVID")]
    data = import_rows(
        tmp_path / "data", phantoms, rows, labels={"Normal": "Normal", "COVID": "COVID"}
    )
    evaluate_external("phantom-cnn", data)
    with pytest.raises(
        ModelError,
        match=r"has no external evaluation clinic \(it has: none\); create it with `covidxr",
    ):
        compare_stored(["phantom-cnn", "twin"], external="clinic")
    evaluate_external("twin", data)
    found = compare_stored(["phantom-cnn", "twin"], external="clinic")
    (pair,) = found.pairs
    # Both have the same weights.
    assert (found.n, pair.both_right + pair.both_wrong, pair.mcnemar_p) == (12, 12, 1.0)
    assert set(pair.auroc) == {"Normal", "COVID"}
    card, predictions = stored_predictions("phantom-cnn", "clinic")
    calibrated = replace(
        predictions, y_score=apply_temperature(predictions.y_score, card.temperature)
    )
    assert pair.both_right == int((calibrated.y_pred == calibrated.y_true).sum())


def test_a_predefined_test_split_is_evaluated_and_the_rest_is_counted(
    phantoms: Path, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    for n, row in enumerate(rows):
        row["split"] = "test" if n % 2 else "train"
    # One has an unmapped label, one cannot be read, and 12 are of train.
    rows[1]["label"] = "tuberculosis"
    data = import_rows(tmp_path / "data", phantoms, rows)
    (tmp_path / "data" / rows[3]["file"]).write_bytes(b"damaged" * 9)
    result = evaluate_external("phantom-cnn", data)
    assert (result["n"], result["left_out"]) == (10, 14)
    _, predictions = stored_predictions("phantom-cnn", "clinic")
    assert set(predictions.samples) == {
        row["file"] for n, row in enumerate(rows) if n % 2 and n > 3
    }
    test, _ = external.read_external(weights_folder() / "phantom-cnn", "clinic")
    assert (test.labels, test.left_out, sum(test.class_counts.values())) == (LABELS, 14, 10)
    for row in rows:
        row["split"] = "train"
    with pytest.raises(DatasetError, match="its test split is empty"):
        evaluate_external("phantom-cnn", import_rows(tmp_path / "data", phantoms, rows))


def test_the_training_data_and_invalid_names_are_rejected(
    phantoms: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    write_import(ImportPlan("disguise", str(phantoms), LABELS))
    for data in (phantoms, "disguise"):
        with pytest.raises(DatasetError, match="is the dataset that phantom-cnn was trained on"):
            evaluate_external("phantom-cnn", data)
    data = import_rows(tmp_path / "data", phantoms, rows)
    for name in ("../x", "a b", ".hidden"):
        with pytest.raises(ModelError, match="an external evaluation cannot be named"):
            evaluate_external("phantom-cnn", data, name)
        with pytest.raises(ModelError, match="an external evaluation cannot be named"):
            stored_predictions("phantom-cnn", name)
    assert not (weights_folder() / "phantom-cnn" / "external").exists()


def test_a_damaged_evaluation_is_rejected(
    phantoms: Path, rows: list[dict[str, str]], tmp_path: Path, weights: Path
) -> None:
    evaluate_external("phantom-cnn", import_rows(tmp_path / "data", phantoms, rows))
    folder = weights / "phantom-cnn" / "external"
    description, table = folder / "clinic.json", folder / "clinic.csv"
    whole, lines = description.read_text(), table.read_text()
    assert lines.splitlines()[0].startswith(
        "sample,split,y_true,Normal,COVID,Viral Pneumonia,Lung_Opacity"
    )
    for file, text, sentence in (
        (description, "{", "the external evaluation clinic of phantom-cnn cannot be read"),
        (description, whole.replace('"left_out": 0', '"left_out": "none"'), "left_out must be int"),
        (
            description,
            whole.replace('"name": "clinic"', '"name": "other"'),
            "does not match its predictions",
        ),
        (table, "\n".join(lines.splitlines()[:-1]) + "\n", "does not match its predictions"),
        (table, lines.replace(",test,", ",val,"), "does not match its predictions"),
        (
            table,
            lines.replace(",test,", ",test,Flu,", 1),
            "the predictions of the external evaluation clinic of .* cannot be read",
        ),
    ):
        file.write_text(text)
        with pytest.raises(ModelError, match=sentence):
            stored_predictions("phantom-cnn", "clinic")
        description.write_text(whole)
        table.write_text(lines)
    table.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        stored_predictions("phantom-cnn", "clinic")
    assert external_evaluations("phantom-cnn") == ("clinic",)
