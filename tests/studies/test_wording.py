"""Numbers and names as they are written."""

import math

import pytest

from studies.view import Estimate
from studies.wording import (
    TOO_FEW,
    clean,
    count,
    duration,
    estimate_text,
    interval,
    number,
    setting,
    short_names,
    shorten,
    signed,
    upright,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (-0.25, "\N{MINUS SIGN}0.250"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (12345.6, "12,346"),
        (0.0, "0.000"),
        (0.00012, "1.2e\N{MINUS SIGN}04"),
        (math.nan, "\N{EN DASH}"),
        (math.inf, "\N{EN DASH}"),
        (None, "\N{EN DASH}"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_differences_carry_their_sign():
    assert signed(0.1) == "+0.100" and signed(-0.1) == "\N{MINUS SIGN}0.100"
    assert signed(0.0) == "0.000" and signed(math.nan) == "\N{EN DASH}"


def test_an_interval_is_given_or_refused_in_words():
    assert interval(Estimate(0.5, 0.4, 0.6)) == "0.400 to 0.600"
    assert interval(Estimate(0.1, -0.1, 0.3), difference=True) == "\N{MINUS SIGN}0.100 to +0.300"
    for missing in (Estimate(0.5), Estimate(0.5, 0.4, None), Estimate(0.5, math.nan, 0.6)):
        assert interval(missing) == TOO_FEW and estimate_text(missing) == "0.500"


def test_settings():
    shown = [setting(v) for v in (0.123456, 3, True, "ties", None, -1.5)]
    assert shown == ["0.1235", "3", "true", "ties", "\N{EN DASH}", "\N{MINUS SIGN}1.5"]


def test_counts_and_durations():
    assert count(1, "trial") == "1 trial" and count(1204, "trial") == "1,204 trials"
    texts = [duration(s) for s in (0.26, 48.2, 59.6, 750, 3599.7, 11100)]
    assert texts == ["0.3 s", "48 s", "1 min 0 s", "12 min 30 s", "1 h 0 min", "3 h 5 min"]


def test_a_strangers_name_becomes_one_line():
    assert clean("a\nb\t c\u202e\u0000d\u2028e") == "a b c d e"


def test_shortening_keeps_both_ends():
    assert shorten("short", 20) == "short"
    long = shorten("models[0].parameters.weight.self_attn[12]", 20)
    assert len(long) == 20 and long.startswith("models") and long.endswith("self_attn[12]")


def test_short_names_stay_apart():
    names = ["zoo/math", "lab/math", "zoo/code", "uniform merge", "/"]
    assert short_names(names) == {
        "zoo/math": "zoo/math",
        "lab/math": "lab/math",
        "zoo/code": "code",
        "uniform merge": "uniform merge",
        "/": "/",
    }


def test_a_name_turns_round_nothing_that_follows():
    assert upright("a\u202eb\u2067c\u2069 \u05d0\u200f") == "abc \u05d0\u200f"
