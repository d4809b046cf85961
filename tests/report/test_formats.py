import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.report import formats


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (formats.count, 1234, "1,234"),
        (formats.count, 85.25, "85.2"),
        (formats.count, -3.0, "−3"),
        (formats.count, None, "–"),
        (formats.count, float("nan"), "–"),
        (formats.count, -0.01, "0.0"),
        (formats.percent, 0.99154, "99.15 %"),
        (formats.percent, -0.5, "−50.00 %"),
        (formats.percent, -0.000001, "0.00 %"),
        (formats.nats, 0.01234, "0.0123"),
        (formats.nats, 12.345, "12.35"),
        (formats.nats, -0.00001, "0.0000"),
        (formats.share, 0.533, "53.3 %"),
        (formats.share, 1, "100 %"),
        (formats.share, 2.5, "250 %"),
        (formats.share, 0.0512, "5.1 %"),
        (formats.share, 2443 / 4_900_000, "0.050 %"),
        (formats.share, 1e-9, "< 0.001 %"),
        (formats.share, 0, "0.0 %"),
        (formats.share, None, "–"),
        (formats.share, -0.001, "–"),
        (formats.seconds, 0, "0.0 s"),
        (formats.seconds, 0.01, "< 0.1 s"),
        (formats.seconds, 0.84, "0.8 s"),
        (formats.seconds, 59.6, "1 min 00 s"),
        (formats.seconds, 185, "3 min 05 s"),
        (formats.seconds, 3599.7, "1 h 00 min"),
        (formats.seconds, 7620, "2 h 07 min"),
        (formats.file_size, 12, "12 B"),
        (formats.file_size, 1300, "1.3 kB"),
        (formats.file_size, 457_000, "457 kB"),
        (formats.file_size, 5_100_000, "5.1 MB"),
        (formats.file_size, 2.5e9, "2.5 GB"),
        (formats.file_size, None, "–"),
        (formats.p_value, 0.00041, "p = 0.0004"),
        (formats.p_value, 1e-9, "p < 0.0001"),
        (formats.p_value, 0.0321, "p = 0.032"),
        (formats.p_value, 1.0, "p = 1.00"),
        (formats.p_value, 0.0499, "p = 0.0499"),
        (formats.p_value, 0.04999, "p < 0.05"),
        (formats.bare_p_value, 0.0321, "0.032"),
        (formats.bare_p_value, 1e-9, "< 0.0001"),
        (formats.bare_p_value, None, "–"),
        (formats.bits, 2.3456, "2.346"),
        (formats.bits, None, "–"),
        (formats.perplexity, 5.066, "5.07"),
        (formats.perplexity, 213.44, "213.4"),
        (formats.perplexity, 18204.3, "18,204"),
        (formats.perplexity, 1e304, "1e+304"),
        (formats.perplexity, float("inf"), "–"),
    ],
)
def test_numbers_are_short(function, value, text):
    assert function(value) == text


@settings(max_examples=50)
@given(st.floats(-1e9, 1e9), st.integers(0, 6), st.booleans())
def test_fixed_is_the_rounded_number(value, decimals, signed):
    text = formats.fixed(value, decimals, signed=signed)
    number = float(text.replace(",", "").replace("−", "-"))
    assert abs(number - value) <= 0.5 * 10**-decimals + 1e-6
    if number < 0:
        assert text[0] == "−"
    elif signed and number > 0:
        assert text[0] == "+"
    else:
        assert text[0].isdigit()


def test_a_spread_needs_more_than_one_seed():
    assert formats.mean_and_sd(85.3, 4.21) == "85.3 ± 4.2"
    assert formats.mean_and_sd(85, None) == "85"
    assert formats.plural(1, "seed") == "1 seed"
    assert formats.plural(1200, "seed") == "1,200 seeds"


@pytest.mark.parametrize(
    ("seeds", "splits", "text"),
    [
        (5, None, "5 seeds"),
        (5, 5, "5 seeds, each on its own split"),
        (10, 5, "10 seeds, 2 on each of 5 splits"),
        (7, 3, "7 seeds on 3 splits"),
        (5, 0, "5 seeds"),  # a damaged summary
    ],
)
def test_seeds_and_splits(seeds, splits, text):
    assert formats.seeds_and_splits(seeds, splits) == text


@pytest.mark.parametrize(("value", "text"), [(0.0123, "0.012 ms"), (7, "7 ms"), (140.4, "140 ms")])
def test_milliseconds_have_two_digits(value, text):
    assert formats.milliseconds(value) == text


@given(st.text(st.sampled_from("ab1/,_ -"), max_size=60), st.integers(1, 30))
def test_broken_names_lose_only_spaces(name, width):
    lines = formats.break_name(name, width)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    for line in lines:
        parts = re.findall("[^/,_ ]+", line)
        assert len(line.rstrip()) <= width or len(parts) <= 1


def test_names_are_broken_after_a_comma_and_not_inside_a_number():
    name = "sw/soft,temperature=1,hidden=32-16"
    assert formats.break_name(name, 24) == ["sw/soft,temperature=1,", "hidden=32-16"]
