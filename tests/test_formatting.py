"""Number formats against hand-worked texts."""

import pytest

from covidxr.formatting import (
    NO_VALUE,
    count,
    data_size,
    decimal,
    decimal_difference,
    duration,
    p_value,
    percent,
    points,
    whole_percent,
)
from covidxr.records import Interval

ACCURACY = Interval(0.952, 0.9432, 0.96)
AUROC = Interval(0.96749, 0.955, 0.9758)


@pytest.mark.parametrize(
    ("n", "brief", "text"),
    [
        (None, False, "95.2% (95% CI 94.3–96.0)"),
        (2433, False, "95.2% (95% CI 94.3–96.0), n = 2,433"),
        (None, True, "95.2% (94.3–96.0)"),
        (7, True, "95.2% (94.3–96.0), n = 7"),
    ],
)
def test_percent(n, brief, text):
    assert percent(ACCURACY, n, brief) == text


@pytest.mark.parametrize(
    ("n", "brief", "text"),
    [
        (None, False, "0.967 (95% CI 0.955–0.976)"),
        (2433, False, "0.967 (95% CI 0.955–0.976), n = 2,433"),
        (None, True, "0.967 (0.955–0.976)"),
    ],
)
def test_decimal(n, brief, text):
    assert decimal(AUROC, n, brief) == text


def test_an_undefined_value_is_a_dash():
    assert percent(None, 12) == decimal(None, 12) == NO_VALUE == "–"


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Interval(0.0123, -0.003, 0.0271), "+1.2 percentage points (95% CI -0.3 to +2.7)"),
        (Interval(-0.05, -0.08, -0.02), "-5.0 percentage points (95% CI -8.0 to -2.0)"),
        (Interval(0.0, 0.0, 0.0), "+0.0 percentage points (95% CI +0.0 to +0.0)"),
    ],
)
def test_points(difference, text):
    assert points(difference) == text
    assert points(difference, brief=True) == text.replace(" percentage points", "").replace(
        "95% CI ", ""
    )


def test_decimal_difference():
    assert decimal_difference(Interval(0.012, -0.003, 0.0271)) == "+0.012 (-0.003 to +0.027)"


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "<1%"),
        (0.0099, "<1%"),
        (0.01, "1%"),
        (0.934, "93%"),
        (0.99, "99%"),
        (0.9901, ">99%"),
        (1.0, ">99%"),
    ],
)
def test_no_probability_is_shown_as_certain(probability, text):
    assert whole_percent(probability) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "p < 0.001"),
        (0.00099, "p < 0.001"),
        (0.001, "p = 0.001"),
        (0.0126, "p = 0.013"),
        (1.0, "p = 1.000"),
    ],
)
def test_p_value(p, text):
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (1204, "image", "1,204 images"),
        (2.0, "group", "2 groups"),
    ],
)
def test_count(n, noun, text):
    assert count(n, noun) == text
    assert count(3) == "3 images"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3599, "60 min"),
        (5400, "1 h 30 min"),
        (11_100, "3 h 05 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 kB"),
        (340_000, "340 kB"),
        (1e6, "1.0 MB"),
        (268e6, "268 MB"),
        (1.25e9, "1.2 GB"),
        (1.2e12, "1,200 GB"),
    ],
)
def test_data_size(size, text):
    assert data_size(size) == text
