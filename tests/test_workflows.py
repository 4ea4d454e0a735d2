from __future__ import annotations

import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidxr import workflows
from covidxr.data.images import fit_to_square
from covidxr.errors import DatasetError, ImageError, ModelError, RunError
from covidxr.figures import heat_overlay
from covidxr.models.inference import predict_scores
from covidxr.models.recipes import STUDY_ACCURACY
from covidxr.records import SplitPlan
from covidxr.runs.journal import RunFolder


@pytest.fixture(autouse=True)
def _phantom_models(phantom_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(phantom_model_folder))


def test_a_run_becomes_a_model_with_all_that_a_card_must_hold(phantoms: Path) -> None:
    (entry,) = workflows.list_models()
    card = entry.card
    assert card is not None
    assert card.synthetic
    assert card.split == SplitPlan()
    assert card.split_fingerprint == workflows.split_data(phantoms, SplitPlan()).split.fingerprint
    assert {"accuracy", "macro_f1", "ece", "brier"} <= set(card.metrics)
    assert all(i.low <= i.estimate <= i.high for i in card.metrics.values())
    assert sum(card.class_counts["test"].values()) == 24
    assert workflows.verify_models() == {"phantom-cnn": None}


def test_stored_predictions_and_a_fresh_look_give_the_same_figures(phantoms: Path) -> None:
    stored = workflows.evaluate_model("phantom-cnn")
    fresh = workflows.evaluate_model("phantom-cnn", phantoms)
    card = workflows.load_model("phantom-cnn").card
    assert stored["confusion_matrix"] == fresh["confusion_matrix"]
    for name in ("accuracy", "macro_f1", "ece", "brier"):
        assert stored[name] == asdict(card.metrics[name])
        assert fresh[name]["estimate"] == pytest.approx(stored[name]["estimate"], abs=1e-4)
    assert stored["n"] == sum(map(sum, stored["confusion_matrix"])) == 24


def test_a_dataset_that_may_hold_training_images_is_refused(tmp_path: Path) -> None:
    from covidxr.data.phantom import write_phantoms

    other = write_phantoms(tmp_path / "other", per_class=20, size=128, seed=9)
    with pytest.raises(DatasetError, match="is not the dataset that phantom-cnn was trained on"):
        workflows.evaluate_model("phantom-cnn", other)


def test_one_case_is_judged_as_in_a_batch_and_calibrated() -> None:
    model = workflows.load_model("phantom-cnn")
    image = workflows.sample_phantom("COVID", 3)
    case = workflows.predict_case(model, image)
    pixels = fit_to_square(image, 128)[None]
    expected = predict_scores(model.network, pixels, np.array([0]), model.card.preprocessing, model.card.temperature)[0]
    assert list(case.probabilities.values()) == pytest.approx(expected.tolist())
    assert tuple(case.probabilities) == model.card.class_names


def test_an_explanation_names_its_class_and_refuses_others() -> None:
    model = workflows.load_model("phantom-cnn")
    image = workflows.sample_phantom("COVID", 3)
    assert workflows.explain_case(model, image, "Normal").target == "Normal"
    with pytest.raises(ModelError, match="knows no class 'Flu'"):
        workflows.explain_case(model, image, "Flu")


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((100, 100), None), ((100, 80), "left and right, 20 % of"), ((75, 100), "above and below, 25 % of")],
)
def test_padding_is_told(shape: tuple[int, int], sentence: str | None) -> None:
    told = workflows.padding_sentence(np.zeros(shape, dtype=np.uint8))
    assert told is None if sentence is None else sentence in str(told)


def test_files_folders_and_zips_are_predicted_and_a_bad_one_is_a_row(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "deep"
    folder.mkdir(parents=True)
    image = workflows.sample_phantom("Normal", 1)
    Image.fromarray(image).save(folder / "a.png")
    (folder / "bad.png").write_bytes(b"no picture")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(folder / "a.png", "x/../../a.png")
    rows = workflows.predict_paths("phantom-cnn", [folder.parent, tmp_path / "more.zip"], explain=tmp_path / "maps")
    assert len(rows) == 3
    assert rows[0]["predicted"] == max(rows[0]["probabilities"], key=rows[0]["probabilities"].get)
    assert "not a PNG" in rows[1]["error"]
    assert rows[2]["probabilities"] == rows[0]["probabilities"]
    model = workflows.load_model("phantom-cnn")
    heat = workflows.explain_case(model, image, rows[0]["predicted"]).heat
    drawn = np.asarray(Image.open(rows[0]["heat_map"]))
    assert np.array_equal(drawn, heat_overlay(image, heat, 0.6))
    assert {p.parent for p in tmp_path.rglob("*-a-*.png")} == {tmp_path / "maps"}


def test_sources_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no file or folder"):
        workflows.predict_paths("phantom-cnn", [tmp_path / "absent"])
    with pytest.raises(ImageError, match="holds no PNG, JPEG or TIFF files"):
        workflows.predict_paths("phantom-cnn", [tmp_path])


def test_a_run_is_stored_once_and_only_when_it_has_an_epoch(phantom_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is a model phantom-cnn already"):
        workflows.store_run(phantom_run, "phantom-cnn")
    with pytest.raises(RunError, match="is not a run"):
        workflows.store_run(tmp_path, "x")


def test_a_failed_run_says_why_in_its_journal(tmp_path: Path) -> None:
    from covidxr.models.recipes import recipe
    from covidxr.runs.journal import RunConfig

    config = RunConfig(recipe("poster-cnn"), SplitPlan(), str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError):
        workflows.train(config, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.status() == "failed"
    assert "there is no folder or zip" in run.events()[-1]["reason"]


@pytest.mark.slow
def test_reproduce_goes_on_where_it_stopped_and_shows_both_columns(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    save_file(resnet18(num_classes=2).state_dict(), tmp_path / "imagenet.safetensors")
    result = workflows.reproduce(phantoms, tmp_path / "runs", SplitPlan(), tmp_path / "imagenet.safetensors", epochs=1)
    assert {row["recipe"]: row["study_accuracy"] for row in result["models"]} == STUDY_ACCURACY
    assert result["n"] == 24
    assert result["class_counts"] == dict.fromkeys(result["class_counts"], 40)
    monkeypatch.setattr(workflows, "train", lambda *_: pytest.fail("everything is there already"))
    assert workflows.reproduce(phantoms, tmp_path / "runs", SplitPlan(), tmp_path / "imagenet.safetensors", epochs=1) == result
