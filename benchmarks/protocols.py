r"""Effect of the split protocol on accuracy, from two models of one recipe, one per protocol.

Prints one JSON object and stores it in the folder of the models, for the Dataset page.

    python benchmarks/protocols.py --data COVID-19_Radiography_Dataset \
        --grouped MODEL --stratified MODEL
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from covidxr.config import weights_folder
from covidxr.datasets.opening import open_dataset
from covidxr.evaluation.protocols import FILE, measure_protocols
from covidxr.storage import to_json, write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--grouped", required=True, help="model trained with the grouped protocol")
    parser.add_argument(
        "--stratified", required=True, help="model of the same recipe with the stratified protocol"
    )
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data)
    effect = measure_protocols(dataset, arguments.grouped, arguments.stratified)
    write_text(weights_folder() / FILE, to_json(effect))
    print(json.dumps({"benchmark": "protocols", **asdict(effect), "sentence": effect.sentence}))


if __name__ == "__main__":
    main()
