r"""Effect of bfloat16 on accuracy: one recipe and seed in bfloat16 and float32, paired on test.

Takes minutes per epoch. The same --out continues an interrupted run.

    python benchmarks/precision.py --data COVID-19_Radiography_Dataset \
        --init imagenet.safetensors --out runs/precision
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from covidxr.evaluation.stored import compare_stored
from covidxr.models import store, training
from covidxr.models.recipes import recipe
from covidxr.records import SplitPlan
from covidxr.runs.journal import RunConfig, RunFolder
from covidxr.runs.publish import publish
from covidxr.runs.train import resume, train


def train_once(name: str, bfloat16: bool, config: RunConfig, out: Path) -> None:
    training.has_fast_bfloat16 = lambda: bfloat16
    if (out / "weights" / name).exists():
        return
    run = RunFolder(out / name)
    run = resume(run.path) if run.status() != "new" else train(config, run.path)
    publish(run.path, name, out / "weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--init", type=Path, required=True, help="safetensors file of ImageNet weights"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="poster-resnet18-pretrained")
    arguments = parser.parse_args()
    if not training.has_fast_bfloat16():
        raise SystemExit("this processor has no fast bfloat16")
    config = RunConfig(
        recipe(arguments.recipe),
        SplitPlan(),
        str(arguments.data.resolve()),
        str(arguments.init.resolve()),
    )
    train_once("bfloat16", True, config, arguments.out)
    train_once("float32", False, config, arguments.out)
    os.environ["COVIDXR_WEIGHTS"] = str(arguments.out / "weights")
    cards = {
        name: store.read_card(arguments.out / "weights" / name) for name in ("bfloat16", "float32")
    }
    pair = compare_stored(list(cards)).pairs[0]
    print(
        json.dumps(
            {
                "benchmark": f"precision, {arguments.recipe}, seed {config.recipe.seed}",
                "accuracy": {
                    name: asdict(card.metrics["accuracy"]) for name, card in cards.items()
                },
                "training_seconds": {
                    name: round(card.training_seconds) for name, card in cards.items()
                },
                "accuracy_difference": asdict(pair.accuracy_difference),
                "mcnemar_p": pair.mcnemar_p,
            }
        )
    )


if __name__ == "__main__":
    main()
