"""The shortcut audit of models trained on phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from covidxr.cards import ShortcutCheck
from covidxr.datasets.opening import open_dataset
from covidxr.datasets.pixels import decode
from covidxr.lungs.inputs import lung_masks
from covidxr.models import store
from covidxr.models.recipes import recipe
from covidxr.prediction.loading import list_models, load_classifier, load_segmenter
from covidxr.records import Preprocessing, SplitFractions, SplitPlan
from covidxr.runs.journal import RunConfig
from covidxr.runs.publish import publish
from covidxr.runs.train import train
from tests.helpers import audit


@pytest.mark.usefixtures("phantom_models")
@pytest.mark.slow
def test_the_audit_checks_within_one_source_and_between_sources(
    phantoms: Path, tmp_path: Path
) -> None:
    """Half of the Normal phantoms are brightened and attributed to another source."""
    import shutil

    from PIL import Image

    data = shutil.copytree(phantoms, tmp_path / "two-sources")
    rows = (data / "sources.csv").read_text().splitlines()
    for i, row in enumerate(rows):
        file, _, patient = row.partition(",phantom,")
        if file.startswith("Normal") and int(patient.rpartition("-")[2]) % 2:
            rows[i] = f"{file},elsewhere,{patient}"
            image = Image.open(data / file)
            image.point([min(255, 90 + v) for v in range(256)]).save(data / file)
    (data / "sources.csv").write_text("\n".join(rows) + "\n")
    chosen = recipe("poster-cnn").override(epochs=2, batch_size=16, learning_rate=0.03)
    train(
        RunConfig(chosen, SplitPlan(fractions=SplitFractions(0.4, 0.3, 0.3)), str(data)),
        tmp_path / "run",
    )
    card = publish(tmp_path / "run", "audited", tmp_path / "weights")
    (own,) = (entry.card for entry in list_models())
    assert own is not None
    checks = {check.kind: check for check in card.shortcuts}
    assert [check.kind for check in card.shortcuts].count("within-source") == 6
    assert checks["border"].figures["accuracy"].estimate > 0.25
    assert checks["border"].n == checks["intensity"].n == sum(card.class_counts["test"].values())
    assert checks["source-from-features"].subject == "elsewhere vs phantom within Normal"
    without = next(check for check in own.shortcuts if check.kind == "source-from-features")
    assert (without.figures, without.reason) == ({}, "no class has more than one source")


@pytest.mark.slow
def test_the_audit_blackens_the_lungs_and_all_but_the_lungs(
    lungs_folder: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand from the masks; not measured for a lung-only model."""
    import shutil

    from sklearn.metrics import accuracy_score

    from covidxr.lungs.masks import resize_mask
    from covidxr.models.inference import predict_scores

    shutil.copytree(lungs_folder, tmp_path / "weights")
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path / "weights"))
    sets = store.read_card(tmp_path / "weights" / "phantom-cnn").prediction_sets
    edited = tmp_path / "weights" / "phantom-cnn" / "card.json"
    edited.write_text(
        json.dumps(
            {
                k: v
                for k, v in json.loads(edited.read_text("utf-8")).items()
                if k != "prediction_sets"
            }
        ),
        "utf-8",
    )
    assert store.read_card(edited.parent).prediction_sets is None  # as in a card of before
    card = audit("phantom-cnn", phantoms)
    assert card.prediction_sets == sets is not None
    assert card == store.read_card(tmp_path / "weights" / "phantom-cnn")
    found: dict[str, ShortcutCheck] = {check.kind: check for check in card.shortcuts}
    model, part = (
        load_classifier("phantom-cnn"),
        store.read_predictions(tmp_path / "weights" / "phantom-cnn").take("test"),
    )
    dataset = open_dataset(phantoms)
    pixels = decode(dataset, 128)
    images = pixels.array[pixels.rows(part.samples)]
    masks = np.stack(
        [resize_mask(mask, 128) for mask in lung_masks(dataset, part.samples, load_segmenter())]
    )
    for kind, kept in (("lungs-blackened", ~masks), ("lungs-only", masks)):
        scores = predict_scores(
            model.network, images * kept, np.arange(len(part)), Preprocessing(128)
        )
        assert found[kind].figures["accuracy"].estimate == pytest.approx(
            accuracy_score(part.y_true, scores.argmax(axis=1))
        )
        assert found[kind].figures["lung_area"].estimate == pytest.approx(masks.mean())
    lungs_card = audit("lungs-cnn", phantoms)
    assert not {"lungs-blackened", "lungs-only"} & {check.kind for check in lungs_card.shortcuts}
