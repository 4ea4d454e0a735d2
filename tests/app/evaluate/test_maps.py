"""The section of Evaluate on heat maps, with the figures of the shipped models."""

import pytest

from covidxr.explanation.localization import best_localisation
from covidxr.formatting import percent
from covidxr.models import store

PAGE = "pages/evaluate.py"
pytestmark = pytest.mark.slow


@pytest.fixture
def section(open_page, repository):
    app = open_page(PAGE, repository / "weights")
    app.sidebar.selectbox(key="model").set_value("poster-cnn").run()
    app.segmented_control(key="section").set_value("Heat maps").run()
    assert not app.exception
    return app


def test_it_says_what_the_card_holds(section, repository, texts):
    card = store.read_card(repository / "weights" / "poster-cnn")
    best = best_localisation(card)
    assert percent(best.test.hits) in texts(section).replace("\\", "")
    assert "no guide to where the opacity is" in texts(section)
    pointing, lungs = (table.value for table in section.dataframe[-2:])
    rows = dict(zip(pointing["Map"], pointing["Points into a box"], strict=True))
    same_spot = next(one for one in card.localisation if one.rival == "constant")
    assert rows["Always the same spot (mean of the train boxes)"] == percent(same_spot.test.hits)
    assert list(lungs["Of the map in the lungs"]) == [
        percent(one.inside) for one in card.lung_shares
    ]


def test_all_kinds_that_were_tried_are_shown_on_demand(section, repository):
    card = store.read_card(repository / "weights" / "poster-cnn")
    section.toggle(key="all kinds").set_value(True).run()
    assert not section.exception
    assert len(section.dataframe[-2].value) == len(card.localisation)


def test_another_method_shows_its_figures_and_the_strip_one_picture_a_layer(section, repository):
    card = store.read_card(repository / "weights" / "poster-cnn")
    (occlusion,) = (one for one in card.faithfulness if one.settings.method == "occlusion")
    section.selectbox(key="faithful method").set_value("occlusion").run()
    assert any(
        f"sensitivity {occlusion.sensitivity.estimate:.2f}" in caption.value
        for caption in section.caption
    )
    section.selectbox(key="faithful method").set_value("gradcam").run()
    section.toggle(key="strip poster-cnn").set_value(True).run()
    assert not section.exception
    titles = [picture.captions[0] for picture in section.image]
    assert titles == [
        "As it was trained",
        *(f"Random down to {step.layer}" for step in card.faithfulness[0].cascade),
    ]
    assert len({picture.proto.imgs[0].url for picture in section.image}) == len(titles)
