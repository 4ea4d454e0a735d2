"""Notice before the first upload."""

import pytest

pytestmark = pytest.mark.slow
PAGE = "pages/predict.py"


def test_no_upload_before_the_notice_is_accepted_once_per_session(
    open_page, phantom_model_folder, texts, monkeypatch
):
    app = open_page(PAGE, phantom_model_folder, accept=False)
    assert not app.exception
    assert not app.file_uploader
    shown = texts(app)
    for text in (
        "Not a medical device",
        "identifiable images",
        "never written to disk",
        "time, file hash, model and result",
    ):
        assert text in shown
    monkeypatch.setenv("COVIDXR_LOG", "off")
    assert "Usage is not logged" in texts(app.run())
    (button,) = app.button
    button.click().run()
    assert app.file_uploader
    assert "I understand" not in [button.label for button in app.button]
    app.switch_page("pages/home.py").run()
    app.switch_page(PAGE).run()
    assert app.file_uploader


def test_compare_shows_the_notice_before_an_upload(open_page, two_models):
    app = open_page("pages/compare.py", two_models, accept=False)
    assert not [button for button in app.button if button.label == "I understand"]
    app.segmented_control(key="contrast").set_value("Single case, all models").run()
    assert not app.file_uploader
    next(button for button in app.button if button.label == "I understand").click().run()
    assert not app.exception
    assert app.file_uploader
