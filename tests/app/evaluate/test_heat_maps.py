"""The validation of heat maps on Evaluate, with the shipped models."""

import pytest

from covidxr.app.evaluate.heat_maps import configuration
from covidxr.cards import MapSettings
from covidxr.explanation.localization import best_localization
from covidxr.formatting import percent
from covidxr.models import store
from covidxr.reports.sentences import localization_sentences


@pytest.fixture
def section(open_page, repository):
    app = open_page("pages/evaluate.py", repository / "weights")
    app.sidebar.selectbox(key="model").set_value("poster-cnn").run()
    app.segmented_control(key="section").set_value("Heat maps").run()
    assert not app.exception
    return app


@pytest.fixture
def card(repository):
    return store.read_card(repository / "weights" / "poster-cnn")


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        (MapSettings("gradcam", "layer4"), "Grad-CAM, layer4, relative to Normal"),
        (
            MapSettings("hirescam", "layer3", "logit", "nearest", 0.05),
            "HiResCAM, layer3, smoothed, not interpolated",
        ),
        (MapSettings("occlusion", window=0.125), "Occlusion, 12.5% patch"),
    ],
)
def test_a_configuration_has_a_title(settings, title):
    assert configuration(settings) == title


@pytest.mark.slow
def test_the_metrics_of_the_card_are_shown(section, card, texts):
    best = best_localization(card)
    assert best is not None
    shown = texts(section).replace("\\", "")
    assert percent(best.test.hits) in shown
    assert all(sentence in shown for sentence in localization_sentences(card))
    localization, lungs = (table.value for table in section.dataframe[-2:])
    rates = localization.set_index("Configuration")["Pointing-game hit rate"]
    fixed = next(one for one in card.localisation if one.rival == "constant")
    expected = percent(fixed.test.hits, brief=True)
    assert rates["Fixed location (mean of the training boxes)"] == expected
    assert list(lungs["Energy within lungs"]) == [
        percent(one.inside, brief=True) for one in card.lung_shares
    ]


@pytest.mark.slow
def test_all_configurations_are_shown_on_demand(section, card):
    section.toggle(key="all configurations").set_value(True).run()
    assert not section.exception
    assert len(section.dataframe[-2].value) == len(card.localisation)


@pytest.mark.slow
def test_another_method_shows_its_metrics_and_the_example_one_image_per_layer(section, card):
    (occlusion,) = (one for one in card.faithfulness if one.settings.method == "occlusion")
    section.selectbox(key="faithful method").set_value("occlusion").run()
    assert any(
        f"sensitivity {occlusion.sensitivity.estimate:.2f}" in caption.value
        for caption in section.caption
    )
    section.selectbox(key="faithful method").set_value("gradcam").run()
    section.toggle(key="randomized poster-cnn").set_value(True).run()
    assert not section.exception
    titles = [image.captions[0] for image in section.image]
    layers = [step.layer for step in card.faithfulness[0].cascade]
    assert titles == ["Trained", *(f"Randomized through {layer}" for layer in layers)]
    assert len({image.proto.imgs[0].url for image in section.image}) == len(titles)
