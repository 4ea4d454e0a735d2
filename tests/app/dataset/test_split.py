"""The split of a dataset, and the leakage of each protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covidxr.datasets.opening import open_dataset
from covidxr.datasets.splits import leaked_samples, split_data
from covidxr.records import SplitPlan

pytestmark = pytest.mark.slow


def test_a_random_split_is_shown_with_its_leakage_and_used_for_training(
    open_section: Callable[..., AppTest], phantoms: Path
) -> None:
    app = open_section("Split")
    assert not app.exception
    leakage = app.dataframe[1].value
    split = split_data(open_dataset(phantoms), SplitPlan("stratified")).split
    leaked = int(leaked_samples(split)[split.rows("test")].sum())
    assert leaked > 0
    assert list(leakage["Leaked images"]) == ["0 (0.0%)", f"{leaked} ({leaked / 24:.1%})"]

    before = list(app.dataframe[0].value["Total"])
    app.slider[0].set_value(65).run()
    app.slider[1].set_value(30).run()
    assert list(app.dataframe[0].value["Total"]) != before
    app.radio[0].set_value("stratified").run()
    app.switch_page("pages/train.py").run()
    assert "--protocol stratified" in app.code[0].value
    assert "--fractions 0.65/0.05/0.3" in app.code[0].value
