"""The Home page: the stored models, and what to do without any."""

import pytest

from covidxr.formatting import percent
from covidxr.models import store


def test_without_models_it_says_how_to_get_one(open_page, tmp_path):
    app = open_page("pages/home.py", tmp_path / "none")
    assert not app.exception
    assert app.info
    assert app.code[0].value.startswith("python -m covidxr train")
    assert not app.dataframe


@pytest.mark.slow
def test_models_are_listed_with_their_metrics(open_page, phantom_model_folder):
    app = open_page("pages/home.py", phantom_model_folder)
    assert not app.exception
    models, datasets = (table.value for table in app.dataframe)
    card = store.read_card(phantom_model_folder / "phantom-cnn")
    assert list(models["Model"]) == ["phantom-cnn"]
    assert list(models["Test accuracy"]) == [percent(card.metrics["accuracy"], 24, brief=True)]
    assert list(datasets["Dataset"]) == list(models["Training data"])
    assert list(datasets["Test"]) == ["24"]


def test_a_broken_model_is_an_error(open_page, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "card.json").write_text('{"schema_version": 99}')
    app = open_page("pages/home.py", tmp_path)
    assert not app.exception
    assert "schema 99" in app.error[0].value
