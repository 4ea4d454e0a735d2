"""Home: the stored models, and what to do without any."""

import pytest


def test_without_models_it_says_how_to_get_one(open_page, tmp_path, texts):
    app = open_page("pages/home.py", tmp_path / "none")
    assert not app.exception
    assert "No model available" in texts(app)
    assert app.code[0].value.startswith("python -m covidxr train")
    assert not app.dataframe


@pytest.mark.slow
def test_models_are_listed_with_their_metrics(open_page, phantom_model_folder):
    app = open_page("pages/home.py", phantom_model_folder)
    assert not app.exception
    models, datasets = (table.value for table in app.dataframe)
    assert list(models["Model"]) == ["phantom-cnn"]
    assert models["Trained on"][0] == "Synthetic phantoms, not radiographs"
    assert models["Accuracy"].str.match(r"^\d+\.\d% \((95% CI )?\d+\.\d–\d+\.\d\)").all()
    assert list(datasets["Dataset"]) == ["Synthetic phantoms, not radiographs"]


def test_a_broken_model_says_why(open_page, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "card.json").write_text('{"schema_version": 99}')
    app = open_page("pages/home.py", tmp_path)
    assert not app.exception
    assert "schema 99" in app.error[0].value
