"""The usage log of the app."""

import hashlib
import json

import pytest

from covidxr.records import CLASS_NAMES
from tests.images.test_dicom import dicom

pytestmark = pytest.mark.slow
PAGE = "pages/predict.py"


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """The lines of the log: hash and verdict."""
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path))
    place = tmp_path / "log" / "uses.jsonl"

    def read():
        found = (
            [json.loads(line) for line in place.read_text("utf-8").splitlines()]
            if place.exists()
            else []
        )
        assert all(
            (one["predicted"] in CLASS_NAMES) == (one["verdict"] == "answered") for one in found
        )
        return [(one["input_sha256"], one["verdict"]) for one in found]

    return read


def upload(app, *files):
    app.file_uploader[0].set_value([(name, content, "image/png") for name, content in files])
    return app.run()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_an_image_is_one_line_per_session_however_often_the_page_runs(
    open_page, phantom_model_folder, png, lines
):
    good, side = png("COVID"), dicom(ViewPosition="LL")
    app = open_page(PAGE, phantom_model_folder)
    app.button[1].click().run()  # phantoms are not logged
    assert lines() == []
    upload(app, ("Meier.png", good))
    app.run()
    first = [(sha256(good), "answered")]
    assert lines() == first
    upload(app, ("Meier.png", good), ("bad.png", b"text"), ("side.dcm", side))
    app.run()
    assert not app.exception
    assert lines() == [*first, (sha256(b"text"), "unreadable"), (sha256(side), "refused")]
    # Another session uses the cached result, and is logged nonetheless.
    upload(open_page(PAGE, phantom_model_folder), ("side.dcm", side))
    assert lines()[3:] == [(sha256(side), "refused")]
