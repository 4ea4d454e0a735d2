"""What stands before a reader's first radiograph."""

import pytest

pytestmark = pytest.mark.slow
PAGE = "pages/predict.py"


def test_nothing_can_be_dropped_before_the_notice_is_accepted_once_a_session(
    open_page, phantom_model_folder, texts, monkeypatch
):
    app = open_page(PAGE, phantom_model_folder, accept=False)
    assert not app.exception
    assert not app.file_uploader
    said = texts(app)
    for must in (
        "no medical device",
        "whose picture it is",
        "server's memory",
        "time, hash of the file, model and verdict",
    ):
        assert must in said
    monkeypatch.setenv("COVIDXR_LOG", "off")
    assert "No log is kept" in texts(app.run())
    (button,) = app.button
    button.click().run()
    assert app.file_uploader
    assert "I understand" not in [button.label for button in app.button]
    app.switch_page("pages/home.py").run()
    app.switch_page(PAGE).run()
    assert app.file_uploader


def test_compare_asks_before_it_takes_a_radiograph(open_page, two_models):
    app = open_page("pages/compare.py", two_models, accept=False)
    assert not [button for button in app.button if button.label == "I understand"]
    app.segmented_control(key="contrast").set_value("One X-ray through all").run()
    assert not app.file_uploader
    next(button for button in app.button if button.label == "I understand").click().run()
    assert not app.exception
    assert app.file_uploader
