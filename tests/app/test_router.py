"""The router of pages."""

from streamlit.testing.v1 import AppTest

from covidxr.records import RESEARCH_ONLY


def test_the_first_page_is_home(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path))
    app = AppTest.from_file(str(repository / "streamlit_app.py"), default_timeout=60).run()
    assert not app.exception
    assert app.title[0].value == "covidxr"


def test_every_page_has_its_frame(repository, open_page, tmp_path, texts):
    for path in sorted((repository / "pages").glob("*.py")):
        app = open_page(f"pages/{path.name}", tmp_path)
        assert not app.exception
        assert len(app.title) == 1
        assert RESEARCH_ONLY in texts(app)


def test_a_page_requested_before_the_router_is_opened(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path))
    app = AppTest.from_file(str(repository / "streamlit_app.py"), default_timeout=60)
    app.session_state["goto"] = "pages/predict.py"
    app.run()
    assert app.title[0].value == "Predict"
    assert "goto" not in app.session_state


def test_an_unknown_page_is_ignored(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("COVIDXR_WEIGHTS", str(tmp_path))
    app = AppTest.from_file(str(repository / "streamlit_app.py"), default_timeout=60)
    app.session_state["goto"] = "pages/gone.py"
    assert not app.run().exception
    assert app.title[0].value == "covidxr"
